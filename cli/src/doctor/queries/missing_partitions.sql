select to_char(day, 'YYYY-MM-DD') as day
from generate_series(
    (now() at time zone 'UTC')::date, (now() at time zone 'UTC')::date + 2, interval '1 day'
) as day
where not exists (
    select
    from pg_inherits
    join pg_class on pg_class.oid = inhrelid
    where inhparent = 'staging.events'::regclass
        and relname = 'events_' || to_char(day, 'YYYYMMDD')
        and not inhdetachpending
)
order by day
