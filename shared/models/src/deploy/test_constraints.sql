select conname::text
from pg_constraint
join pg_class on pg_class.oid = conrelid
where relnamespace = 'facts'::regnamespace and relname = $1 and contype = 'c' and conname like 'test\_%'
