-- Raw events, by day.
--
-- Why: rows are only ever added, in batches, by COPY; never updated, so that nothing is left for vacuum to collect. Old
-- days are dropped whole. There is no DEFAULT partition: it would forbid DETACH … CONCURRENTLY, and a row that waits in
-- it blocks the creation of its day. A missing day is created on demand instead, by `ensure_partition`.
--
-- Running code: none yet.

-- A cached sequence: an id costs no lock, and gaps between sessions do not matter.
create sequence staging.events_id_seq as bigint cache 1000;

create table staging.events (
    id bigint not null default nextval('staging.events_id_seq'),
    received_at timestamptz not null,
    batch_id uuid not null,
    source text not null,
    event_type text not null,
    payload jsonb not null,
    -- A batch's rows share one received_at: this key finds them, so that no further index is paid for with every row.
    constraint events_pkey primary key (received_at, id)
) partition by range (received_at);

alter sequence staging.events_id_seq owned by staging.events.id;

comment on table staging.events is 'Raw events, append-only, one partition a UTC day. Read it through raw_events.';
comment on column staging.events.received_at is 'When the batch was received; all rows of a batch share it.';
comment on column staging.events.batch_id is 'The batch, in staging.batches, that the row came with.';

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
    -- A clock that is wrong by years must not fill the catalog with partitions.
    if day < current_date - 400 or day > current_date + 60 then
        raise exception 'no partition for %: it is more than 400 days ago or 60 days ahead', day
            using errcode = 'datetime_field_overflow', hint = 'Check the clock of the machine that sent the batch.';
    end if;
    -- Many workers may miss the same day at once: one creates it, the others find it.
    perform pg_advisory_xact_lock(hashtextextended('millrace.partition', 0));
    -- A query, and not to_regclass: that answers from a cache which an advisory lock does not refresh.
    if exists (select from pg_class where relnamespace = 'staging'::regnamespace and relname = partition_name) then
        return false;
    end if;
    -- Created apart and then attached, which ingestion into other days does not notice; CREATE … PARTITION OF would
    -- lock the whole table. The check lets ATTACH skip its scan.
    execute format(
        'create table staging.%1$I (
            like staging.events including defaults including constraints,
            constraint %2$I primary key (received_at, id),
            constraint %3$I check (received_at >= %4$L and received_at < %5$L)
        )',
        partition_name, partition_name || '_pkey', partition_name || '_day',
        day::timestamptz, (day + 1)::timestamptz
    );
    -- Append-only pages need freezing and a visibility map, not collecting.
    execute format('alter table staging.%I set (autovacuum_vacuum_insert_scale_factor = 0.2)', partition_name);
    -- The planner prices a join on received_at as if every partition were read for each batch, for it cannot know that
    -- all but one are pruned as it runs; with the true n_distinct it reads whole days instead of unprocessed batches.
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
    'Creates the partition of a UTC day unless it is there. True when it was created now.';

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
    'Creates the partitions of today and so many days after it. How many were created now.';

revoke execute on function staging.ensure_partition(date) from public;
revoke execute on function staging.ensure_partitions_ahead(integer) from public;
grant execute on function staging.ensure_partition(date) to millrace_ingest, millrace_maintain;
grant execute on function staging.ensure_partitions_ahead(integer) to millrace_maintain;
grant insert on staging.events to millrace_ingest;
grant usage on sequence staging.events_id_seq to millrace_ingest;
grant select on staging.events to millrace_transform, millrace_maintain;
