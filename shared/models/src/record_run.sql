insert into pipeline.runs (run_id, model, activity, outcome, detail)
values ($1, $2, $3, $4, $5)
on conflict (run_id, model) do update
    set outcome = excluded.outcome, detail = excluded.detail, finished_at = clock_timestamp()
