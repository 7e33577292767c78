-- In the order of the parameters.
select
    events.source,
    events.event_type,
    events.payload::text as payload,
    loads.origin as load
from unnest($1::timestamptz[], $2::int8[]) with ordinality as refused (received_at, event_id, position)
join staging.events on events.received_at = refused.received_at and events.id = refused.event_id
join staging.batches on batches.batch_id = events.batch_id
left join staging.loads on loads.load_id = batches.load_id
order by refused.position
