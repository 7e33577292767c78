-- The ledger of batches and the record of loads.
--
-- Why: the batch is the unit of everything. Its ledger row commits with its rows, and its unique origin is what makes
-- ingestion exactly-once. Whether an event is processed is a fact about its batch, so no row is ever updated for it.
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
    'One row a version of an object, written when its load begins, and one more each time its dead letter is put back.';
comment on column staging.loads.origin is 's3://bucket/key?version=…: the version, and nothing else.';
comment on column staging.loads.object is 's3://bucket/key: shared by every version.';
comment on column staging.loads.sequencer is 'S3''s order of the events of one key; hexadecimal, compared left-padded.';
comment on column staging.loads.plan is
    'How the file is read, decided once: a resumed load reads it exactly as the first attempt did.';

comment on column staging.loads.attempt is
    '1, and one more each time the file''s dead letter was put back: it is then read anew, from its first record.';

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

comment on table staging.load_results is 'How a load ended; a load without a row here is under way, or waits for its next attempt.';
comment on column staging.load_results.record_count is 'Records of the file, or of its part that was read, as counted by the reader.';

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
-- Room on the page, so that marking a batch as processed needs no new index entries but the partial one.
) with (fillfactor = 80);

-- The unprocessed batches alone: `where processed = false` and the claim read this, and it stays small.
create index batches_unprocessed_idx on staging.batches (received_at, batch_id) where processed_at is null;
create index batches_load_idx on staging.batches (load_id, first_record) where load_id is not null;
create index batches_received_idx on staging.batches (received_at);

comment on table staging.batches is 'The ledger: one row a batch, committed with the batch''s rows.';
comment on column staging.batches.origin is
    'What the batch was made of; unique. s3://bucket/key?version=…#first record, insert:<batch id>.';
comment on column staging.batches.read_count is 'Records read = staged + rejected.';
comment on column staging.batches.rejected_count is 'Records in the dead-letter queue instead.';
comment on column staging.batches.repaired_count is 'Records staged after a repair; their raw text is in staging.repairs.';
comment on column staging.batches.superseded_at is
    'When a newer version of the object replaced this batch; its events are no longer in raw_events.';

create table staging.repairs (
    batch_id uuid not null,
    line bigint not null,
    byte_offset bigint not null,
    rule text not null,
    raw bytea not null,
    constraint repairs_batch_fkey foreign key (batch_id) references staging.batches (batch_id)
);
create index repairs_batch_idx on staging.repairs (batch_id);

comment on table staging.repairs is 'Records that broke the grammar of their file and were read all the same, as they stood there.';

-- Ends a load. Where a new version replaces the older ones the newest wins, whatever the order they end in.
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
    -- Versions of one object end one after the other, so that each sees the others' results.
    perform pg_advisory_xact_lock(hashtextextended(ended.object, 1));
    insert into staging.load_results (load_id, outcome, record_count, reason)
    values (ended_load_id, ended_outcome, ended_record_count, ended_reason)
    on conflict (load_id) do nothing;
    if not found then
        return ended_outcome;
    end if;
    -- However this load ended, what it staged is hidden when a newer version that replaces is there in full; and when
    -- it is itself such a version, what every older one staged is hidden, be that one under way, stopped or failed.
    with
    -- Versions that have been hidden. They stay so, and hide nothing more: what is left to compare is the version that
    -- won so far and the one that ended now, so that contradictory dates and sequencers can never hide both.
    hidden as (
        select distinct batches.load_id
        from staging.batches
        join staging.loads on loads.load_id = batches.load_id
        where loads.object = ended.object and batches.superseded_at is not null
    ),
    -- The versions of the object that are there in full and replace what was before them.
    replacing as (
        select loads.load_id, loads.origin, loads.attempt, loads.sequencer, loads.modified_at, loads.started_at
        from staging.loads
        join staging.load_results on load_results.load_id = loads.load_id
        where loads.object = ended.object
            and loads.on_new_version = 'replace'
            and load_results.outcome = 'loaded'
            and loads.load_id not in (select load_id from hidden)
    ),
    -- Every version that one of them is newer than, what hidden ones staged since, and attempts that are over.
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
                        -- A file that was put back takes the place of what its earlier attempts staged.
                        when replacing.origin = loads.origin then replacing.attempt > loads.attempt
                        -- Sequencers have no fixed length: pad the shorter on the left, then compare as text.
                        when replacing.sequencer <> loads.sequencer
                            then lpad(upper(replacing.sequencer), 64, '0') collate "C"
                                > lpad(upper(loads.sequencer), 64, '0') collate "C"
                        -- A file found by listing the bucket has no sequencer.
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
    'Records how a load ended, once, and hides the batches of versions that it replaces or that replace it.';

-- Begins another attempt at a version whose file's dead letter was put back. What earlier attempts staged before they ended is
-- hidden from here on. False when there is nothing to attempt: it was begun before, or an earlier attempt ended well.
create function staging.begin_attempt(begun staging.loads) returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- As where a load ends: attempts see each other.
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
    -- An earlier attempt that never came to its end is over too.
    insert into staging.load_results (load_id, outcome, record_count, reason)
    select loads.load_id, 'failed', 0, 'put back before it had ended'
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
    'Begins another attempt at a version of an object, and hides the batches of the attempts before it.';

-- A record of a load that was put back just as the load was replaced goes with it: whoever replaced it may not have seen
-- the record yet.
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
    'Hides the records of a load that were put back after it had been replaced.';

revoke execute on function staging.finish_redriven(uuid) from public;
grant execute on function staging.finish_redriven(uuid) to millrace_ingest;
revoke execute on function staging.begin_attempt(staging.loads) from public;
grant execute on function staging.begin_attempt(staging.loads) to millrace_ingest;
revoke execute on function staging.finish_load(uuid, text, bigint, text) from public;
grant execute on function staging.finish_load(uuid, text, bigint, text) to millrace_ingest;
grant select on staging.loads, staging.batches to millrace_ingest;
-- What an ingesting function knows of a batch as it stages it. When it was processed or replaced, and the outcome of its events, is for
-- others to say.
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
