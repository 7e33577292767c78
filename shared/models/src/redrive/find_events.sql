-- The state of the events of dead letters, in the order of the request.
select
    batches.received_at,
    batches.processed_at is not null as is_processed,
    batches.superseded_at is not null as is_superseded,
    quarantine.batch_id is not null as is_quarantined,
    events.id is not null as is_stored
from unnest($2::uuid[], $3::int8[]) with ordinality as asked (batch_id, event_id, position)
left join staging.batches on batches.batch_id = asked.batch_id
left join pipeline.quarantine
    on quarantine.batch_id = asked.batch_id and quarantine.event_id = asked.event_id and quarantine.model = $1
left join staging.events on events.received_at = batches.received_at and events.id = asked.event_id
order by asked.position
