-- Whether another query of this model made facts that are still there: since its last rebuild, if it had one.
select exists (
    select from pipeline.releases
    where releases.models ? $1
        and releases.models ->> $1 <> $2
        and exists (select from staging.batches where batches.processed_by = releases.release_id)
) or exists (
    select from pipeline.backfills where model = $1 and fingerprint <> $2 and finished_at is not null
)
