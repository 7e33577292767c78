insert into staging.loads (
    load_id, origin, object, source, event_type, sequencer, modified_at, on_new_version, plan
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (origin, attempt) do nothing
