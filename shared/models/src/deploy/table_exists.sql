-- A query instead of to_regclass, which reads a cache.
select from pg_class where relnamespace = 'facts'::regnamespace and relname = $1
