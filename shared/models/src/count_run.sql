insert into pipeline.runs as run (
    run_id, model, activity, event_count, row_count, quarantined_count, duration_ms, outcome
)
values ($1, $2, $3, $4, $5, $6, $7, case when $6 > 0 then 'warned' else 'ok' end)
on conflict (run_id, model) do update
    set event_count = run.event_count + excluded.event_count,
        row_count = run.row_count + excluded.row_count,
        quarantined_count = run.quarantined_count + excluded.quarantined_count,
        duration_ms = run.duration_ms + excluded.duration_ms,
        outcome = case when excluded.outcome = 'ok' then run.outcome else excluded.outcome end,
        finished_at = clock_timestamp()
