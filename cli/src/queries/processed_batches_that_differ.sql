-- Processed batches with events that are not transformed, quarantined or unmodelled, and unprocessed batches with such counts.
select
    origin,
    case when processed_at is null then 0 else staged_count end as expected,
    transformed_count + quarantined_count + unmodelled_count as found
from staging.batches
where case when processed_at is null then 0 else staged_count end
    <> transformed_count + quarantined_count + unmodelled_count
order by 1
limit 20
