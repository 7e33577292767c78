-- The relations that read $1 of schema facts, directly or indirectly, the outermost last.
with recursive above (relation, depth) as (
    select c.oid, 0 from pg_class c where c.relnamespace = 'facts'::regnamespace and c.relname = $1
    union
    select r.ev_class, a.depth + 1
    from above a
    join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = a.relation
    join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid and r.ev_class <> a.relation
)
select
    n.nspname::text as schema,
    c.relname::text as name,
    c.relkind = 'm' as is_materialized,
    exists (select from pipeline.models m where n.nspname = 'facts' and m.model = c.relname) as is_ours
from above a
join pg_class c on c.oid = a.relation
join pg_namespace n on n.oid = c.relnamespace
where a.depth > 0
group by c.oid, n.nspname, c.relname, c.relkind
order by max(a.depth), c.relname
