select id from staging.events where received_at = $1 and batch_id = $2 order by id
