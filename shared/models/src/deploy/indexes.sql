-- The columns of each index without expressions and predicates. Models cannot declare other indexes.
select array_agg(attname::text order by key.position)
from pg_index
join pg_class on pg_class.oid = indrelid
cross join lateral unnest(indkey::int2[]) with ordinality as key (attribute, position)
join pg_attribute on attrelid = indrelid and attnum = key.attribute
where relnamespace = 'facts'::regnamespace and relname = $1 and indpred is null and indexprs is null
group by indexrelid
