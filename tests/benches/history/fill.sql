-- Processed batches number $1 + 1 to $2 of one event each, spread over thirty days, with a dedupe key each: webhooks that arrived
-- one at a time.
with made as (
    select
        gen_random_uuid() as batch_id,
        n,
        now() - interval '30 days' * (1 - (n - $1::int8)::float8 / ($2::int8 - $1::int8 + 1)) as received_at
    from generate_series($1::int8 + 1, $2::int8) as n
),
ledger as (
    insert into staging.batches (
        batch_id, origin, source, event_type, received_at, created_at, processed_at, processed_by,
        read_count, staged_count, transformed_count, payload_bytes
    )
    select
        batch_id, 'webhook:' || batch_id, 'history', 'orders', received_at, received_at, received_at + interval '1 second',
        (select max(version_id) from pipeline.model_versions), 1, 1, 1, 190
    from made
),
keys as (
    insert into staging.deliveries (source, delivery_key, received_at, expires_at)
    select 'history', 'id:' || n, received_at, received_at + interval '45 days'
    from made
)
insert into staging.events (received_at, batch_id, source, event_type, payload)
select
    received_at, batch_id, 'history', 'orders',
    jsonb_build_object('order_id', n, 'total', '12.50', 'customer', n % 10000, 'note', repeat('x', 120))
from made
