select loads.load_id, loads.plan, load_results.outcome
from staging.loads
left join staging.load_results on load_results.load_id = loads.load_id
where loads.origin = $1
