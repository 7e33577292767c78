-- Deletes and returns the invalidations of $1. Later invalidations are left to the next refresh.
with taken as (
    delete from pipeline.invalidations where model = $1 returning bucket
)
select
    count(*) > 0 as is_invalidated,
    coalesce(bool_or(bucket is null), false) as everything,
    coalesce(jsonb_agg(distinct bucket) filter (where bucket is not null), '[]') as buckets
from taken
