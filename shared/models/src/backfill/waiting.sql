select from pipeline.backfill_batches where backfill_id = $1 and done_at is null limit 1
