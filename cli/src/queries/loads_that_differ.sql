-- Completed loads whose number of records differs from that of their batches. A batch without a position in the file contains a
-- redriven record, which the count of the file already includes.
select
    loads.origin,
    load_results.record_count as expected,
    coalesce(sum(batches.read_count), 0)::bigint as found
from staging.load_results
join staging.loads on loads.load_id = load_results.load_id
left join staging.batches on batches.load_id = loads.load_id and batches.first_record is not null
where load_results.outcome = 'loaded'
group by loads.load_id, load_results.load_id
having load_results.record_count <> coalesce(sum(batches.read_count), 0)
order by 1
limit 20
