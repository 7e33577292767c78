select pg_advisory_xact_lock(hashtextextended('millrace.deploy', 0))
