update pipeline.quarantine set model = $2 where model = $1 returning batch_id
