insert into pipeline.runs as run (run_id, model, activity, outcome, detail)
select $1, model, 'transform', 'failed', $3 from unnest($2::text[]) as model
on conflict (run_id, model) do update
    set outcome = excluded.outcome, detail = excluded.detail, finished_at = clock_timestamp()
