select backfill_batches.batch_id, backfill_batches.received_at
from pipeline.backfill_batches
join staging.batches using (batch_id)
where backfill_id = $1 and done_at is not null and superseded_at is not null
