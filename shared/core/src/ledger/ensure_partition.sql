select staging.ensure_partition(($1 at time zone 'UTC')::date)
