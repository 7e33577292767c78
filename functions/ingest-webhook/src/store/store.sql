-- One flush in one statement, and therefore in one round trip and one transaction: keys, ledger, repairs and events.
-- $1 received_at; $2–$6 the keys; $7–$14 the events, a rejected one without payload; $15–$17 the batches.
with key as (
    select * from unnest($2::int4[], $3::text[], $4::text[], $5::bool[], $6::int4[])
        as key (delivery, source, delivery_key, is_first, remembered_days)
),
-- A delivery with a known key claims none of its other keys: it is a duplicate and is not stored, and must not make a
-- duplicate of the delivery that those keys belong to.
offered as (
    select delivery from key
    except
    select key.delivery
    from key
    cross join lateral (
        select from staging.deliveries as known
        where known.source = key.source and known.delivery_key = key.delivery_key and known.expires_at > $1
        -- One index lookup per key, however many deliveries are remembered.
        offset 0
    ) as known
),
-- A key that exists is taken over only after it has expired. Another flush that holds the key is waited for here.
claimed_first as (
    insert into staging.deliveries as known (source, delivery_key, received_at, expires_at)
    select source, delivery_key, $1, $1 + make_interval(days => remembered_days)
    from key
    where is_first and delivery in (select delivery from offered)
    -- Every flush takes keys in this order, so that two flushes with the same keys cannot deadlock.
    order by source, delivery_key
    on conflict (source, delivery_key) do update
        set received_at = excluded.received_at, expires_at = excluded.expires_at
        where known.expires_at <= excluded.received_at
    returning source, delivery_key
),
-- Claims the other keys only of deliveries that got their first key: another flush may have stored the delivery meanwhile.
claimed_others as (
    insert into staging.deliveries as known (source, delivery_key, received_at, expires_at)
    select source, delivery_key, $1, $1 + make_interval(days => remembered_days)
    from key
    where not is_first and delivery in (
        select key.delivery
        from key
        join claimed_first using (source, delivery_key)
        where key.is_first
    )
    order by source, delivery_key
    on conflict (source, delivery_key) do update
        set received_at = excluded.received_at, expires_at = excluded.expires_at
        where known.expires_at <= excluded.received_at
    returning source, delivery_key
),
claimed as (
    select source, delivery_key from claimed_first
    union all
    select source, delivery_key from claimed_others
),
-- A delivery is new when all of its keys are new.
fresh as (
    select key.delivery
    from key
    left join claimed on claimed.source = key.source and claimed.delivery_key = key.delivery_key
    group by key.delivery
    having count(claimed.delivery_key) = count(*)
),
event as materialized (
    select
        case when offered.payload is not null then nextval('staging.events_id_seq') end as id,
        offered.*
    from unnest($7::int4[], $8::int4[], $9::jsonb[], $10::int4[], $11::text[], $12::int8[], $13::int8[], $14::bytea[])
        with ordinality as offered (delivery, batch, payload, payload_bytes, rule, line, byte_offset, raw, position)
    where offered.delivery in (select delivery from fresh)
),
batch as (
    select * from unnest($15::uuid[], $16::text[], $17::text[])
        with ordinality as batch (batch_id, source, event_type, number)
),
ledger as (
    insert into staging.batches (
        batch_id, origin, source, event_type, received_at,
        read_count, staged_count, rejected_count, repaired_count, payload_bytes
    )
    select
        batch.batch_id, 'webhook:' || batch.batch_id, batch.source, batch.event_type, $1,
        count(*), count(event.payload), count(*) - count(event.payload), count(event.rule),
        coalesce(sum(event.payload_bytes), 0)
    from event
    join batch on batch.number = event.batch
    group by batch.batch_id, batch.source, batch.event_type
),
repairs as (
    insert into staging.repairs (batch_id, line, byte_offset, rule, raw)
    select batch.batch_id, event.line, event.byte_offset, event.rule, event.raw
    from event
    join batch on batch.number = event.batch
    where event.rule is not null
),
stored as (
    insert into staging.events (id, received_at, batch_id, source, event_type, payload)
    select event.id, $1, batch.batch_id, batch.source, batch.event_type, event.payload
    from event
    join batch on batch.number = event.batch
    where event.payload is not null
)
select fresh.delivery, array_remove(array_agg(event.id order by event.position), null) as event_ids
from fresh
left join event on event.delivery = fresh.delivery
group by fresh.delivery
