-- The column $2 of a relation in facts: whether it is a point in time, and whether an index leads with it.
select
    atttypid in ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) as is_time,
    exists (
        select from pg_index
        where indrelid = attrelid and indisvalid and indpred is null and indkey[0] = attnum
    ) as is_indexed
from pg_attribute
where attrelid = $1 and attname = $2 and attnum > 0 and not attisdropped
