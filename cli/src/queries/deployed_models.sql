select models.definition_hash, run.row_count, run.outcome, run.detail,
    extract(epoch from clock_timestamp() - run.finished_at)::float8 as seconds_ago
from pipeline.models
join pipeline.model_runs as run on run.model = models.model
where models.model = $1
