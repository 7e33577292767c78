-- Dedupe keys of webhook deliveries.
--
-- Why: senders repeat a delivery when its response is late or lost. The keys of a delivery are inserted in the transaction that
-- stores its events, so that both commit or neither. A unique index on events is not possible, because on a partitioned table it
-- must contain the partition key. A concurrent duplicate waits at the primary key until the first delivery commits.
--
-- Running code: none; ingest-webhook requires this migration.

create table staging.deliveries (
    source text not null,
    delivery_key text not null,
    received_at timestamptz not null,
    expires_at timestamptz not null,
    constraint deliveries_pkey primary key (source, delivery_key)
-- Free space on each page, so that the update of an expired key stays on its page.
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);
-- Rows are inserted nearly in the order of their expiry, so a BRIN index is selective, and inserts into it are cheap.
create index deliveries_expires_idx on staging.deliveries using brin (expires_at) with (pages_per_range = 16);

comment on table staging.deliveries is
    'Dedupe keys of the webhook deliveries whose events are stored, until they expire.';
comment on column staging.deliveries.delivery_key is
    '"id:" and the sender''s id, or "body:" and the SHA-256 of the body, as configured in sources.toml.';

grant select, insert on staging.deliveries to millrace_ingest;
grant update (received_at, expires_at) on staging.deliveries to millrace_ingest;
grant select, delete on staging.deliveries to millrace_maintain;

-- Deletes expired keys that no other transaction has locked.
create function staging.expire_delivery_keys(at_most integer) returns bigint
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    with expired as (
        select source, delivery_key from staging.deliveries
        where expires_at <= now()
        limit at_most
        for update skip locked
    ),
    deleted as (
        delete from staging.deliveries using expired
        where deliveries.source = expired.source and deliveries.delivery_key = expired.delivery_key
        returning 1
    )
    select count(*) from deleted
$$;

comment on function staging.expire_delivery_keys(integer) is
    'Deletes expired dedupe keys, at most the given number. Returns how many were deleted.';

revoke execute on function staging.expire_delivery_keys(integer) from public;
grant execute on function staging.expire_delivery_keys(integer) to millrace_ingest, millrace_maintain;
