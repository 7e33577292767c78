select batch_id, received_at
from staging.batches
where source = $1
    and event_type = $2
    and superseded_at is not null
    and retracted_at is null
    and processed_at is not null
order by received_at, batch_id
for update skip locked
