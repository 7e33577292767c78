insert into pipeline.invalidations (model) values ($1)
