insert into pipeline.quarantine (model, batch_id, event_id, dead_letter_id, sqlstate)
select $1, refused.*
from unnest($2::uuid[], $3::int8[], $4::uuid[], $5::text[]) as refused (batch_id, event_id, dead_letter_id, sqlstate)
-- In a fixed order, so that transactions that refuse the same events do not deadlock.
order by batch_id, event_id
on conflict (batch_id, event_id, model) do update
    set dead_letter_id = excluded.dead_letter_id,
        sqlstate = excluded.sqlstate,
        quarantined_at = clock_timestamp()
