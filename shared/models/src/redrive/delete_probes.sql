delete from pipeline.quarantine using unnest($2::uuid[], $3::int8[]) as asked (batch_id, event_id)
where quarantine.model = $1
    and quarantine.batch_id = asked.batch_id
    and quarantine.event_id = asked.event_id
    and quarantine.sqlstate = ''
