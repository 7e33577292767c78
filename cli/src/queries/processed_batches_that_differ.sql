-- Batches whose events did not all go somewhere: into facts, into the dead-letter queue, or past every model. Of a batch
-- that is not processed, none has gone anywhere yet.
select
    origin,
    case when processed_at is null then 0 else staged_count end as expected,
    transformed_count + quarantined_count + unmodelled_count as found
from staging.batches
where case when processed_at is null then 0 else staged_count end
    <> transformed_count + quarantined_count + unmodelled_count
order by 1
limit 20
