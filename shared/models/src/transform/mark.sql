-- A batch that was superseded before it was processed has no facts to retract.
update staging.batches
set processed_at = clock_timestamp(),
    processed_by = $4,
    transformed_count = staged_count - done.quarantined_count - done.unmodelled_count,
    quarantined_count = done.quarantined_count,
    unmodelled_count = done.unmodelled_count,
    retracted_at = case when superseded_at is not null then clock_timestamp() end
from unnest($1::uuid[], $2::int8[], $3::int8[]) as done (batch_id, quarantined_count, unmodelled_count)
where batches.batch_id = done.batch_id
