-- A query, and not to_regclass, which answers from a cache.
select from pg_class where relnamespace = 'facts'::regnamespace and relname = $1
