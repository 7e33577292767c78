select batch_id from staging.batches where processed_at is null limit 1
