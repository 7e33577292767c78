select exists (select from staging.batches where batch_id = $1)
