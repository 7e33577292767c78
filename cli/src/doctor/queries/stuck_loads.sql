-- Unfinished loads that have staged nothing for $1 seconds.
select loads.origin
from staging.loads
left join staging.load_results on load_results.load_id = loads.load_id
left join lateral (
    select max(created_at) as staged_at from staging.batches where batches.load_id = loads.load_id
) as chunks on true
where load_results.load_id is null
    and greatest(loads.started_at, chunks.staged_at) < now() - $1 * interval '1 second'
order by loads.started_at
