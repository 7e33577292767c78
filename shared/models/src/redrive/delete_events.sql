delete from pipeline.quarantine using unnest($2::uuid[], $3::int8[]) as taken (batch_id, event_id)
where quarantine.model = $1
    and quarantine.batch_id = taken.batch_id
    and quarantine.event_id = taken.event_id
