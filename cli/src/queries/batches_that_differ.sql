with
-- The number of rows in staging.events.
present as (
    select received_at, batch_id, count(*) as row_count
    from staging.events
    group by received_at, batch_id
)
select
    coalesce(batches.origin, 'no batch ' || present.batch_id) as origin,
    coalesce(batches.staged_count, 0) as expected,
    coalesce(present.row_count, 0) as found
from staging.batches
full join present on present.batch_id = batches.batch_id and present.received_at = batches.received_at
where coalesce(batches.staged_count, 0) <> coalesce(present.row_count, 0)
order by 1
limit 20
