insert into pipeline.quarantine (model, batch_id, event_id, dead_letter_id, sqlstate)
select $1, refused.*
from unnest($2::uuid[], $3::int8[], $4::uuid[], $5::text[]) as refused (batch_id, event_id, dead_letter_id, sqlstate)
-- Everybody in the same order: two that refuse the same events never wait for each other.
order by batch_id, event_id
on conflict (batch_id, event_id, model) do update
    set dead_letter_id = excluded.dead_letter_id,
        sqlstate = excluded.sqlstate,
        quarantined_at = clock_timestamp()
