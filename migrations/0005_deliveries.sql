-- Webhook deliveries that came before.
--
-- Why: senders deliver again when an answer is late or lost. A delivery's keys are claimed in the transaction that stores
-- its events, so that both stay or neither; a unique index over events could not do it, since on a partitioned table it
-- would have to hold the day. A concurrent duplicate waits at the primary key for the first to commit.
--
-- Running code: none; ingest-webhook arrives with this.

create table staging.deliveries (
    source text not null,
    delivery_key text not null,
    received_at timestamptz not null,
    expires_at timestamptz not null,
    constraint deliveries_pkey primary key (source, delivery_key)
-- Rows come and go; room on the page keeps a key that is claimed anew after its expiry where it is.
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);
-- Rows come nearly in the order in which they expire, so a range of pages says enough, and costs an insert nothing.
create index deliveries_expires_idx on staging.deliveries using brin (expires_at) with (pages_per_range = 16);

comment on table staging.deliveries is
    'Keys of the webhook deliveries whose events are stored, until a sender will certainly not repeat them.';
comment on column staging.deliveries.delivery_key is
    '"id:" and the sender''s id, or "body:" and the SHA-256 of the body; sources.toml says which.';

grant select, insert on staging.deliveries to millrace_ingest;
grant update (received_at, expires_at) on staging.deliveries to millrace_ingest;
grant select, delete on staging.deliveries to millrace_maintain;

-- Deletes some of the expired keys, those nobody holds; how many.
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
    forgotten as (
        delete from staging.deliveries using expired
        where deliveries.source = expired.source and deliveries.delivery_key = expired.delivery_key
        returning 1
    )
    select count(*) from forgotten
$$;

comment on function staging.expire_delivery_keys(integer) is 'Deletes at most so many expired keys of deliveries. How many it deleted.';

revoke execute on function staging.expire_delivery_keys(integer) from public;
grant execute on function staging.expire_delivery_keys(integer) to millrace_ingest, millrace_maintain;
