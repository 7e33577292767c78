update pipeline.backfills set finished_at = clock_timestamp() where backfill_id = $1
