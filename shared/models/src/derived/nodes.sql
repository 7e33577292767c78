-- The derived relations of schema facts: the rollups in $1, and all materialized views.
select
    c.oid as relation,
    c.relname::text as name,
    c.relkind = 'm' as is_materialized,
    c.relispopulated as is_populated,
    pg_has_role(current_user, c.relowner, 'member') as is_owned,
    -- The index that `refresh … concurrently` requires.
    exists (
        select from pg_index i
        where i.indrelid = c.oid
            and i.indisunique and i.indisvalid and i.indisready and i.indimmediate
            and i.indpred is null and i.indexprs is null
    ) as has_usable_key
from pg_class c
where c.relnamespace = 'facts'::regnamespace
    and (c.relkind = 'm' or (c.relkind in ('r', 'p') and c.relname = any($1::text[])))
order by c.relname
