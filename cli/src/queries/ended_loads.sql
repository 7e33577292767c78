-- Loads that ended after $1 or shortly before it, because now() is the time when a transaction began and not when it committed.
select
    loads.load_id,
    loads.object,
    loads.source,
    loads.event_type,
    load_results.outcome,
    load_results.reason,
    coalesce(counts.staged_count, 0) as staged_count,
    coalesce(counts.rejected_count, 0) as rejected_count,
    coalesce(counts.repaired_count, 0) as repaired_count,
    extract(epoch from load_results.finished_at - loads.started_at)::double precision as duration_seconds,
    load_results.finished_at
from staging.load_results
join staging.loads on loads.load_id = load_results.load_id
left join lateral (
    select
        sum(staged_count)::bigint as staged_count,
        sum(rejected_count)::bigint as rejected_count,
        sum(repaired_count)::bigint as repaired_count
    from staging.batches
    where batches.load_id = loads.load_id
) as counts on true
where load_results.finished_at > $1 - interval '1 minute'
order by load_results.finished_at
