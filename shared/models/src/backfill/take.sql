with
-- Locks more batches than are processed, because rows must be locked before a window function can count them.
next as (
    select batch_id, received_at, staged_count
    from pipeline.backfill_batches
    where backfill_id = $1 and done_at is null
    order by received_at, batch_id
    limit 64
    for update skip locked
),
counted as (
    select *, sum(staged_count) over (order by received_at, batch_id) - staged_count as before from next
)
select counted.batch_id, counted.received_at, counted.staged_count, batches.superseded_at is not null as superseded
from counted
join staging.batches using (batch_id)
where counted.before < $2
order by counted.received_at, counted.batch_id
