select attname::text as name, format_type(atttypid, atttypmod) as data_type
from pg_class
join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
where relnamespace = 'facts'::regnamespace and relname = $1
order by attnum
