-- The processed batches of the model's routes that no model version with this model and no backfill of it has processed. A rebuild
-- begins with an empty table, so it processes all of them.
insert into pipeline.backfill_batches (backfill_id, batch_id, received_at, staged_count)
select $5, batches.batch_id, batches.received_at, batches.staged_count
from staging.batches
where batches.processed_at is not null
    and batches.superseded_at is null
    and exists (
        select from unnest($1::text[], $2::text[]) as route (source, event_type)
        where route.source = batches.source and (route.event_type is null or route.event_type = batches.event_type)
    )
    and (
        $6
        or not exists (
            select from pipeline.model_versions
            where model_versions.version_id = batches.processed_by and model_versions.models ->> $3 = $4
        )
    )
    and not exists (
        select from pipeline.backfill_batches as taken
        join pipeline.backfills using (backfill_id)
        where taken.batch_id = batches.batch_id
            and (
                taken.backfill_id = $5
                or not $6 and taken.done_at is not null and backfills.model = $3 and backfills.fingerprint = $4
            )
    )
on conflict (backfill_id, batch_id) do nothing
