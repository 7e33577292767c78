-- The ledger of batches and the loads of files.
--
-- Why: events are stored and processed in batches. The ledger row of a batch commits with its events, and its unique origin makes
-- ingestion exactly-once. The mark that events are processed is a column of their batch, so events are never updated.
--
-- Running code: none yet.

create table staging.loads (
    load_id uuid not null,
    origin text not null,
    object text not null,
    source text not null,
    event_type text not null,
    sequencer text,
    modified_at timestamptz,
    on_new_version text not null,
    plan jsonb not null,
    attempt integer not null default 1,
    started_at timestamptz not null default now(),
    constraint loads_pkey primary key (load_id),
    constraint loads_origin_attempt_key unique (origin, attempt),
    constraint loads_attempt_positive check (attempt > 0),
    constraint loads_on_new_version_known check (on_new_version in ('append', 'replace'))
);
create index loads_object_idx on staging.loads (object);

comment on table staging.loads is
    'One row per version of an object, inserted when its load begins, and one more each time its dead letter is redriven.';
comment on column staging.loads.origin is 's3://bucket/key?version=…: identifies the version of the object.';
comment on column staging.loads.object is 's3://bucket/key: the same for all versions.';
comment on column staging.loads.sequencer is
    'S3''s order of the events of one key: hexadecimal, compared after padding on the left.';
comment on column staging.loads.plan is
    'How the file is read. The first attempt stores it, so that a resumed load reads the file in the same way.';

comment on column staging.loads.attempt is
    'Starts at 1 and increases by one each time the dead letter of the file is redriven. Each attempt reads the file from its first record.';

create table staging.load_results (
    load_id uuid not null,
    outcome text not null,
    record_count bigint not null,
    reason text,
    finished_at timestamptz not null default now(),
    constraint load_results_pkey primary key (load_id),
    constraint load_results_load_fkey foreign key (load_id) references staging.loads (load_id),
    constraint load_results_outcome_known check (outcome in ('loaded', 'stopped', 'failed', 'superseded')),
    constraint load_results_record_count_positive check (record_count >= 0)
);

comment on table staging.load_results is
    'The outcome of a load. A load without a row here has not ended, or waits for its next attempt.';
comment on column staging.load_results.record_count is 'Number of records that were read from the file.';

create table staging.batches (
    batch_id uuid not null,
    received_at timestamptz not null,
    created_at timestamptz not null default now(),
    processed_at timestamptz,
    superseded_at timestamptz,
    load_id uuid,
    read_count bigint not null,
    staged_count bigint not null,
    rejected_count bigint not null default 0,
    repaired_count bigint not null default 0,
    transformed_count bigint not null default 0,
    quarantined_count bigint not null default 0,
    unmodelled_count bigint not null default 0,
    first_record bigint,
    next_record bigint,
    byte_start bigint,
    byte_end bigint,
    first_line bigint,
    next_line bigint,
    origin text not null,
    source text not null,
    event_type text not null,
    constraint batches_pkey primary key (batch_id),
    constraint batches_origin_key unique (origin),
    constraint batches_load_fkey foreign key (load_id) references staging.loads (load_id),
    constraint batches_read_reconciles check (read_count = staged_count + rejected_count),
    constraint batches_processed_reconciles check (
        processed_at is null or staged_count = transformed_count + quarantined_count + unmodelled_count
    )
-- Free space on each page, so that the update that marks a batch as processed stays on its page.
) with (fillfactor = 80);

-- These two contain few batches and stay small. The view raw_events reads them.
create unique index batches_unprocessed_key on staging.batches (received_at, batch_id)
where processed_at is null and superseded_at is null;
create unique index batches_superseded_key on staging.batches (received_at, batch_id)
where superseded_at is not null;
-- By source and event type, so that a claim never scans the backlog of another source.
create index batches_claimed_idx on staging.batches (source, event_type, received_at, batch_id)
where processed_at is null;
create index batches_load_idx on staging.batches (load_id, first_record) where load_id is not null;
create index batches_received_idx on staging.batches (received_at);

comment on table staging.batches is 'The ledger: one row per batch, committed with the events of the batch.';
comment on column staging.batches.origin is
    'The data of which the batch was made: s3://bucket/key?version=…#first record, or insert:<batch id>. Unique.';
comment on column staging.batches.read_count is 'Records read = staged + rejected.';
comment on column staging.batches.rejected_count is 'Records that were sent to the dead-letter queue.';
comment on column staging.batches.repaired_count is
    'Records that were repaired and staged. staging.repairs has their raw text.';
comment on column staging.batches.superseded_at is
    'When a newer version of the object replaced this batch. Its events are no longer in raw_events.';

-- Without a foreign key to the batch, whose check for each row took longer than the insert of the row.
create table staging.repairs (
    batch_id uuid not null,
    line bigint not null,
    byte_offset bigint not null,
    rule text not null,
    raw bytea not null
);
create index repairs_batch_idx on staging.repairs (batch_id);

comment on table staging.repairs is 'The raw text of records that violated the format of their file and were repaired.';

-- Ends a load. With on_new_version = 'replace', the newest version wins, in whatever order the loads end.
create function staging.finish_load(
    ended_load_id uuid, ended_outcome text, ended_record_count bigint, ended_reason text
) returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    ended staging.loads;
begin
    select * into strict ended from staging.loads where load_id = ended_load_id;
    -- Loads of one object end one at a time, so that each sees the results of the others.
    perform pg_advisory_xact_lock(hashtextextended(ended.object, 1));
    insert into staging.load_results (load_id, outcome, record_count, reason)
    values (ended_load_id, ended_outcome, ended_record_count, ended_reason)
    on conflict (load_id) do nothing;
    if not found then
        return ended_outcome;
    end if;
    -- If a newer version with 'replace' is completely loaded, hide the batches of this load, whatever its outcome. If this
    -- load is itself such a version, hide the batches of all older versions, including loads that have not ended or failed.
    with
    -- Versions that are already hidden. They stay hidden and hide no others. Only the current version and the one that ended
    -- now are compared, so that contradictory dates and sequencers can never hide both.
    hidden as (
        select distinct batches.load_id
        from staging.batches
        join staging.loads on loads.load_id = batches.load_id
        where loads.object = ended.object and batches.superseded_at is not null
    ),
    -- Completely loaded versions of the object with 'replace'.
    replacing as (
        select loads.load_id, loads.origin, loads.attempt, loads.sequencer, loads.modified_at, loads.started_at
        from staging.loads
        join staging.load_results on load_results.load_id = loads.load_id
        where loads.object = ended.object
            and loads.on_new_version = 'replace'
            and load_results.outcome = 'loaded'
            and loads.load_id not in (select load_id from hidden)
    ),
    -- Versions that are older than one of these, hidden versions with new batches, and earlier attempts.
    replaced as (
        select load_id from hidden
        union
        select loads.load_id
        from staging.loads
        join staging.loads as later on later.origin = loads.origin and later.attempt > loads.attempt
        where loads.object = ended.object
        union
        select loads.load_id
        from staging.loads
        where loads.object = ended.object
            and exists (
                select from replacing
                where replacing.load_id <> loads.load_id
                    and case
                        -- A redriven file replaces the batches of its earlier attempts.
                        when replacing.origin = loads.origin then replacing.attempt > loads.attempt
                        -- Sequencers vary in length: pad them on the left, then compare them as text.
                        when replacing.sequencer <> loads.sequencer
                            then lpad(upper(replacing.sequencer), 64, '0') collate "C"
                                > lpad(upper(loads.sequencer), 64, '0') collate "C"
                        -- A file that was found by listing the bucket has no sequencer.
                        when replacing.modified_at <> loads.modified_at
                            then replacing.modified_at > loads.modified_at
                        else (replacing.started_at, replacing.load_id) > (loads.started_at, loads.load_id)
                    end
            )
    )
    update staging.batches
    set superseded_at = now()
    from replaced
    where batches.load_id = replaced.load_id and batches.superseded_at is null;
    return ended_outcome;
end
$$;

comment on function staging.finish_load(uuid, text, bigint, text) is
    'Stores the outcome of a load once, and marks as superseded the batches of versions that it replaces, or its own.';

-- Begins another attempt at a version whose dead letter was redriven, and hides the batches of earlier attempts. Returns false if
-- this attempt has already begun, or if an earlier attempt is loaded or superseded.
create function staging.begin_attempt(begun staging.loads) returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The lock of finish_load, so that concurrent attempts see each other.
    perform pg_advisory_xact_lock(hashtextextended(begun.object, 1));
    if exists (
        select from staging.loads
        left join staging.load_results on load_results.load_id = loads.load_id
        where loads.origin = begun.origin
            and (loads.attempt >= begun.attempt or load_results.outcome in ('loaded', 'superseded'))
    ) then
        return false;
    end if;
    insert into staging.loads select begun.*;
    -- End earlier attempts that have not ended.
    insert into staging.load_results (load_id, outcome, record_count, reason)
    select loads.load_id, 'failed', 0, 'redriven before it had ended'
    from staging.loads
    where loads.origin = begun.origin and loads.attempt < begun.attempt
    on conflict (load_id) do nothing;
    update staging.batches
    set superseded_at = now()
    from staging.loads
    where loads.origin = begun.origin
        and loads.attempt < begun.attempt
        and batches.load_id = loads.load_id
        and batches.superseded_at is null;
    return true;
end
$$;

comment on function staging.begin_attempt(staging.loads) is
    'Begins another attempt at a version of an object, and marks the batches of earlier attempts as superseded.';

-- Hides a record of a load that is redriven while the load is superseded. The transaction that superseded the load may not have
-- seen the batch of the record.
create function staging.finish_redriven(settled_load_id uuid) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    settled staging.loads;
begin
    select * into strict settled from staging.loads where load_id = settled_load_id;
    perform pg_advisory_xact_lock(hashtextextended(settled.object, 1));
    if exists (select from staging.batches where load_id = settled_load_id and superseded_at is not null) then
        update staging.batches
        set superseded_at = now()
        where load_id = settled_load_id and superseded_at is null;
    end if;
end
$$;

comment on function staging.finish_redriven(uuid) is
    'Marks the redriven records of a superseded load as superseded.';

revoke execute on function staging.finish_redriven(uuid) from public;
grant execute on function staging.finish_redriven(uuid) to millrace_ingest;
revoke execute on function staging.begin_attempt(staging.loads) from public;
grant execute on function staging.begin_attempt(staging.loads) to millrace_ingest;
revoke execute on function staging.finish_load(uuid, text, bigint, text) from public;
grant execute on function staging.finish_load(uuid, text, bigint, text) to millrace_ingest;
grant select on staging.loads, staging.batches to millrace_ingest;
-- The ingest role sets the columns that are known when a batch is staged. Other roles set when it was processed or superseded, and
-- the outcome of its events.
grant insert (load_id, origin, object, source, event_type, sequencer, modified_at, on_new_version, plan)
    on staging.loads to millrace_ingest;
grant insert (
    batch_id, origin, load_id, source, event_type, received_at,
    read_count, staged_count, rejected_count, repaired_count,
    first_record, next_record, byte_start, byte_end, first_line, next_line
) on staging.batches to millrace_ingest;
grant select on staging.load_results to millrace_ingest;
grant insert on staging.repairs to millrace_ingest;
grant select on all tables in schema staging to millrace_transform, millrace_maintain;
grant update (processed_at, transformed_count, quarantined_count, unmodelled_count)
    on staging.batches to millrace_transform;
