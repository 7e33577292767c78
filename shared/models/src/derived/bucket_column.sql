-- The column $2 of a relation in facts: whether its type is a time, and whether it is the first column of an index.
select
    atttypid in ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) as is_time,
    exists (
        select from pg_index
        where indrelid = attrelid and indisvalid and indpred is null and indkey[0] = attnum
    ) as is_indexed
from pg_attribute
where attrelid = $1 and attname = $2 and attnum > 0 and not attisdropped
