-- The last attempt at an object version.
select loads.load_id, loads.plan, loads.attempt, load_results.outcome
from staging.loads
left join staging.load_results on load_results.load_id = loads.load_id
where loads.origin = $1
order by loads.attempt desc
limit 1
