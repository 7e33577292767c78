with
done as (
    select * from unnest($2::uuid[], $3::int8[]) as done (batch_id, quarantined_count)
),
marked as (
    update pipeline.backfill_batches
    set done_at = clock_timestamp()
    from done
    where backfill_id = $1 and backfill_batches.batch_id = done.batch_id
)
-- Events that had no model are transformed or quarantined now. The events of other batches are already counted.
update staging.batches
set transformed_count = staged_count - done.quarantined_count,
    quarantined_count = done.quarantined_count,
    unmodelled_count = 0
from done
where batches.batch_id = done.batch_id
    and superseded_at is null
    and staged_count > 0
    and unmodelled_count = staged_count
