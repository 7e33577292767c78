select
    coalesce(sum(staged_count) filter (where done_at is not null), 0)::bigint,
    coalesce(sum(staged_count), 0)::bigint
from pipeline.backfill_batches
where backfill_id = $1
