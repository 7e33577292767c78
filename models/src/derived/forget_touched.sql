delete from pipeline.touched where model <> all ($1)
