-- Unfinished backfills that have processed no batch for $1 seconds.
select backfills.model, work.batch_count, extract(epoch from now() - work.moved_at)::double precision as idle_seconds
from pipeline.backfills
cross join lateral (
    select
        count(*) filter (where done_at is null) as batch_count,
        greatest(backfills.started_at, max(done_at)) as moved_at
    from pipeline.backfill_batches
    where backfill_batches.backfill_id = backfills.backfill_id
) as work
where backfills.finished_at is null and work.moved_at < now() - $1 * interval '1 second'
order by backfills.model
