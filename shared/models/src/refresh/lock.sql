select pg_try_advisory_xact_lock(hashtextextended('millrace.refresh.' || $1, 0))
