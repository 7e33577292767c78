select batch_id, received_at
from staging.batches
where source = $1
    and ($2::text is null or event_type = $2)
    and processed_at is not null
    and superseded_at is null
order by received_at, batch_id
