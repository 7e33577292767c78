delete from pipeline.invalidations where model <> all ($1)
