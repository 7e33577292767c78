select staging.finish_redriven($1)
