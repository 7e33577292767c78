insert into pipeline.touched (model) values ($1)
