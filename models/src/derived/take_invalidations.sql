-- Takes what invalidated $1 away. Whatever is invalidated from now on is for the next refresh.
with taken as (
    delete from pipeline.invalidations where model = $1 returning bucket
)
select
    count(*) > 0 as is_invalidated,
    coalesce(bool_or(bucket is null), false) as everything,
    coalesce(jsonb_agg(distinct bucket) filter (where bucket is not null), '[]') as buckets
from taken
