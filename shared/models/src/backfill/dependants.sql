-- Views that read the table, directly or through other views, the outermost first.
with recursive above as (
    select pg_rewrite.ev_class as relation, 1 as height
    from pg_depend
    join pg_rewrite on pg_rewrite.oid = pg_depend.objid
    where pg_depend.classid = 'pg_rewrite'::regclass
        and pg_depend.refobjid = (
            select oid from pg_class where relnamespace = 'facts'::regnamespace and relname = $1
        )
    union
    select pg_rewrite.ev_class, above.height + 1
    from above
    join pg_depend on pg_depend.refobjid = above.relation and pg_depend.classid = 'pg_rewrite'::regclass
    join pg_rewrite on pg_rewrite.oid = pg_depend.objid and pg_rewrite.ev_class <> above.relation
)
select
    nspname::text as schema, relname::text as name, relkind::text as kind,
    relation::regclass::text as shown
from above
join pg_class on pg_class.oid = relation
join pg_namespace on pg_namespace.oid = relnamespace
group by nspname, relname, relkind, relation
order by max(height) desc
