select
    model, kind, activity, outcome, detail, event_count, row_count, quarantined_count, duration_ms, stale_bucket_count,
    extract(epoch from now() - finished_at)::double precision as finished_seconds,
    extract(epoch from now() - last_ok_at)::double precision as last_ok_seconds,
    extract(epoch from now() - stale_since)::double precision as stale_seconds
from pipeline.model_runs
order by model
