-- Raw events, by day.
--
-- Why: rows are added in batches, by COPY, and never updated, so that vacuum has no dead rows to remove. Old partitions are
-- dropped. There is no DEFAULT partition, because it prevents DETACH … CONCURRENTLY, and because a row in it blocks the creation
-- of its day's partition. Instead, `ensure_partition` creates a missing partition on demand.
--
-- Running code: none yet.

-- The sequence is cached, so that an id rarely needs a lock. Gaps between sessions do not matter.
create sequence staging.events_id_seq as bigint cache 1000;

create table staging.events (
    id bigint not null default nextval('staging.events_id_seq'),
    received_at timestamptz not null,
    batch_id uuid not null,
    source text not null,
    event_type text not null,
    payload jsonb not null,
    -- The rows of a batch have the same received_at. This key finds them, so that no second index is needed.
    constraint events_pkey primary key (received_at, id)
) partition by range (received_at);

-- Finds one id in every partition. A btree costs a fifth of the time of a COPY; ids ascend with the rows, so a BRIN costs nothing.
-- Vacuum summarizes new pages. autosummarize writes a line to the server's log for each request that does not fit its queue.
create index events_id_idx on staging.events using brin (id) with (pages_per_range = 4);

alter sequence staging.events_id_seq owned by staging.events.id;

comment on table staging.events is 'Raw events, append-only, one partition per UTC day. Query the view raw_events instead.';
comment on column staging.events.received_at is 'When the batch was received. All rows of a batch have the same value.';
comment on column staging.events.batch_id is 'The batch of the row, in staging.batches.';

create function staging.ensure_partition(day date) returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '10s'
set timezone = 'UTC'
as $$
declare
    partition_name text := 'events_' || to_char(day, 'YYYYMMDD');
begin
    if exists (select from pg_class where relnamespace = 'staging'::regnamespace and relname = partition_name) then
        return false;
    end if;
    -- A wrong clock must not fill the catalog with partitions.
    if day < current_date - 400 or day > current_date + 60 then
        raise exception 'no partition for %: it is more than 400 days ago or 60 days ahead', day
            using errcode = 'datetime_field_overflow', hint = 'Check the clock of the machine that sent the batch.';
    end if;
    -- Concurrent workers may need the same day. One of them creates it, and the others wait and find it.
    perform pg_advisory_xact_lock(hashtextextended('millrace.partition', 0));
    -- A query instead of to_regclass, which reads a cache that an advisory lock does not refresh.
    if exists (select from pg_class where relnamespace = 'staging'::regnamespace and relname = partition_name) then
        return false;
    end if;
    -- Create the table and then attach it, which does not block inserts into other days. CREATE … PARTITION OF would lock
    -- the parent table. The check constraint lets ATTACH skip its scan.
    execute format(
        'create table staging.%1$I (
            like staging.events including defaults including constraints,
            constraint %2$I primary key (received_at, id),
            constraint %3$I check (received_at >= %4$L and received_at < %5$L)
        )',
        partition_name, partition_name || '_pkey', partition_name || '_day',
        day::timestamptz, (day + 1)::timestamptz
    );
    -- Vacuum is needed to freeze append-only pages and to set the visibility map.
    execute format('alter table staging.%I set (autovacuum_vacuum_insert_scale_factor = 0.2)', partition_name);
    -- The planner estimates a join on received_at as if it read every partition for each batch, because it does not know that
    -- run-time pruning leaves one. With the true n_distinct it would scan whole days instead of the unprocessed batches.
    execute format('alter table staging.%I alter column received_at set (n_distinct = -1)', partition_name);
    execute format(
        'alter table staging.events attach partition staging.%I for values from (%L) to (%L)',
        partition_name, day::timestamptz, (day + 1)::timestamptz
    );
    execute format('alter table staging.%I drop constraint %I', partition_name, partition_name || '_day');
    return true;
end
$$;

comment on function staging.ensure_partition(date) is
    'Creates the partition of a UTC day unless it exists. Returns true if it was created.';

create function staging.ensure_partitions_ahead(days integer) returns integer
language sql
set search_path = pg_catalog, pg_temp
as $$
    select count(*) filter (where staging.ensure_partition(day::date))::integer
    from generate_series(
        (now() at time zone 'UTC')::date, (now() at time zone 'UTC')::date + days, interval '1 day'
    ) as day
$$;

comment on function staging.ensure_partitions_ahead(integer) is
    'Creates the partitions of today and of the given number of days after it. Returns how many were created.';

revoke execute on function staging.ensure_partition(date) from public;
revoke execute on function staging.ensure_partitions_ahead(integer) from public;
grant execute on function staging.ensure_partition(date) to millrace_ingest, millrace_maintain;
grant execute on function staging.ensure_partitions_ahead(integer) to millrace_maintain;
grant insert on staging.events to millrace_ingest;
grant usage on sequence staging.events_id_seq to millrace_ingest;
grant select on staging.events to millrace_transform, millrace_maintain;
