select count(*), coalesce(sum(staged_count), 0)::bigint
from staging.batches
where processed_at is not null
    and superseded_at is null
    and exists (
        select from unnest($1::text[], $2::text[]) as route (source, event_type)
        where route.source = batches.source and (route.event_type is null or route.event_type = batches.event_type)
    )
    and not exists (
        select from pipeline.model_versions
        where model_versions.version_id = batches.processed_by and model_versions.models ->> $3 = $4
    )
    and not exists (
        select from pipeline.backfill_batches as taken
        join pipeline.backfills using (backfill_id)
        where taken.batch_id = batches.batch_id
            and taken.done_at is not null
            and backfills.model = $3
            and backfills.fingerprint = $4
    )
