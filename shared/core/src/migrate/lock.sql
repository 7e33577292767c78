-- Concurrent runs wait for each other. A migration that waits longer for a lock fails and is rolled back, because later queries
-- wait behind it.
set local lock_timeout = '60s';
select pg_advisory_xact_lock(hashtextextended('millrace.migrate', 0));
set local lock_timeout = '10s';
