-- Locks the rows of these events, and waits for transactions that insert or delete them: a transaction that refuses an event inserts
-- its row before it sends the dead letter. An event that is not quarantined gets a row without SQLSTATE, which is deleted again.
insert into pipeline.quarantine (model, batch_id, event_id, dead_letter_id, sqlstate)
select distinct on (asked.batch_id, asked.event_id) $1, asked.batch_id, asked.event_id, asked.batch_id, ''
from unnest($2::uuid[], $3::int8[]) as asked (batch_id, event_id)
order by asked.batch_id, asked.event_id
on conflict (batch_id, event_id, model) do update set model = excluded.model
