select id, payload::text as payload
from staging.raw_events
where source = $1 and event_type = $2
order by received_at desc, id
limit 3
