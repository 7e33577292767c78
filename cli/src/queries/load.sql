-- The last attempt at a version of an object, with its counts so far.
select
    loads.load_id,
    load_results.outcome,
    load_results.reason,
    coalesce(sum(batches.staged_count), 0)::bigint as staged_count,
    coalesce(sum(batches.rejected_count), 0)::bigint as rejected_count,
    coalesce(sum(batches.repaired_count), 0)::bigint as repaired_count
from staging.loads
left join staging.load_results on load_results.load_id = loads.load_id
left join staging.batches on batches.load_id = loads.load_id
where loads.origin = $1
group by loads.load_id, load_results.load_id
order by loads.attempt desc
limit 1
