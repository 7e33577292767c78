select
    loads.plan,
    exists (
        select from staging.batches where batches.load_id = loads.load_id and batches.superseded_at is not null
    ) as is_hidden
from staging.loads
where loads.load_id = $1
