select attname::text
from pg_index
join pg_class on pg_class.oid = indrelid
cross join lateral unnest(indkey::int2[]) with ordinality as key (attribute, position)
join pg_attribute on attrelid = indrelid and attnum = key.attribute
where relnamespace = 'facts'::regnamespace and relname = $1 and indisprimary
order by key.position
