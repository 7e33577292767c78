-- The invalidation functions.
select p.proname::text as name, p.prosrc as source
from pg_proc p
where p.pronamespace = 'pipeline'::regnamespace
    and starts_with(p.proname, 'invalidate_')
    and p.prorettype = 'trigger'::regtype
order by p.proname
