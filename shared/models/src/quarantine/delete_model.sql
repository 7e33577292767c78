delete from pipeline.quarantine where model = $1 returning batch_id
