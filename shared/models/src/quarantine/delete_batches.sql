delete from pipeline.quarantine where batch_id = any ($1)
