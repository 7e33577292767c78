select
    models.definition_hash,
    run.row_count,
    extract(epoch from clock_timestamp() - run.finished_at)::float8 as seconds_ago,
    run.outcome,
    run.detail
from pipeline.models
left join lateral (
    select row_count, finished_at, outcome, detail
    from pipeline.runs
    where runs.model = models.model
    order by started_at desc
    limit 1
) as run on true
where models.model = $1
