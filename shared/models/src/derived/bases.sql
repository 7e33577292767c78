-- The tables and materialized views that each derived relation reads, directly or through views. A rollup is a table without
-- dependencies, so the parameters list what it reads: $1 are the rollups and $2 the relations, pairwise.
with recursive direct (node, relation) as (
    select given.node, to_regclass(given.relation)::oid
    from unnest($1::text[], $2::text[]) as given (node, relation)
    union
    -- The relations in the rule of a materialized view.
    select c.relname::text, d.refobjid
    from pg_class c
    join pg_rewrite r on r.ev_class = c.oid
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    where c.relnamespace = 'facts'::regnamespace and c.relkind = 'm'
        and d.refclassid = 'pg_class'::regclass and d.refobjid <> c.oid
),
below (node, relation) as (
    select node, relation from direct where relation is not null
    union
    -- The relations that a view reads.
    select b.node, d.refobjid
    from below b
    join pg_class c on c.oid = b.relation and c.relkind = 'v'
    join pg_rewrite r on r.ev_class = c.oid
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    where d.refclassid = 'pg_class'::regclass and d.refobjid <> c.oid
)
select
    b.node,
    c.oid as relation,
    n.nspname::text as schema,
    c.relname::text as name,
    case c.relkind
        when 'm' then 'materialized_view'
        when 'v' then 'view'
        when 'r' then 'table'
        when 'p' then 'table'
        else 'other'
    end as kind,
    has_table_privilege(c.oid, 'TRIGGER') and c.relkind in ('r', 'p') as can_have_triggers
from below b
join pg_class c on c.oid = b.relation and c.relkind in ('r', 'p', 'm', 'v', 'f')
join pg_namespace n on n.oid = c.relnamespace
order by b.node, n.nspname, c.relname
