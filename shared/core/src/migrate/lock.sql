-- Concurrent runs take turns. A migration waits for others' locks as long as this, and then gives up with nothing done,
-- rather than make every later query wait behind it.
set local lock_timeout = '60s';
select pg_advisory_xact_lock(hashtextextended('millrace.migrate', 0));
set local lock_timeout = '10s';
