-- Whether another version of this model wrote facts that are still in the table.
select exists (
    select from pipeline.model_versions
    where model_versions.models ? $1
        and model_versions.models ->> $1 <> $2
        and exists (select from staging.batches where batches.processed_by = model_versions.version_id)
) or exists (
    select from pipeline.backfills where model = $1 and fingerprint <> $2 and finished_at is not null
)
