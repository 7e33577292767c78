select staging.finish_load($1, $2, $3, $4)
