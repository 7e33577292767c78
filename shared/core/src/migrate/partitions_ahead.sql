select staging.ensure_partitions_ahead($1)
