select pipeline.recount($1)
