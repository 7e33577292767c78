delete from pipeline.quarantine where model = $1 and batch_id = any ($2)
