-- The invalidate functions there are.
select p.proname::text as name, p.prosrc as source
from pg_proc p
where p.pronamespace = 'pipeline'::regnamespace
    and starts_with(p.proname, 'touch_')
    and p.prorettype = 'trigger'::regtype
order by p.proname
