select pg_advisory_xact_lock(hashtextextended('millrace.model.' || $1, 0))
