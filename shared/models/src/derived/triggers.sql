-- The invalidation triggers, without their clones on partitions.
select
    t.tgrelid as relation,
    format('%I.%I', n.nspname, c.relname) as "on",
    p.proname::text as function,
    t.tgname::text as name,
    encode(t.tgargs, 'escape') as arguments,
    t.tgenabled = 'O' as is_enabled
from pg_trigger t
join pg_proc p on p.oid = t.tgfoid
join pg_class c on c.oid = t.tgrelid
join pg_namespace n on n.oid = c.relnamespace
where p.pronamespace = 'pipeline'::regnamespace
    and starts_with(p.proname, 'invalidate_')
    and not t.tgisinternal
    and t.tgparentid = 0
