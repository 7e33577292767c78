update staging.batches set retracted_at = clock_timestamp() where batch_id = any ($1)
