-- Casts the values. A value that cannot be cast becomes null, and a test of severity `warn` counts it. A failing cast would
-- fail this run and every later run.
select
    id as event_id,
    batch_id,
    received_at,
    case when payload ->> 'order_id' ~ '^[0-9]{1,18}$' then (payload ->> 'order_id')::bigint end as order_id,
    payload ->> 'status' as status,
    case when payload ->> 'total' ~ '^[0-9]{1,12}([.][0-9]{1,6})?$' then (payload ->> 'total')::numeric end as total
from {{ source('millrace', 'raw_events') }}
where source = 'shop' and event_type = 'orders'
