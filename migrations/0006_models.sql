-- Models: what transforms and refreshes remember, and how they claim batches.
--
-- Why: facts, counts and the mark that a batch is processed commit together, so everything that says which model took
-- what is here, in the same database. A batch's mark names the model version, the set of models that took it; so for every
-- model it is known which batches it has not seen, and history can be caught up exactly, whatever ran meanwhile.
--
-- Running code: functions of before go on; what they stage has a `payload_bytes` of 0.
--
-- An operator: the indexes of staging.batches are built in this migration's own transaction, and ingestion waits until it
-- commits. The ledger has one row a batch, so that is short; where it has grown very large, migrate in a quiet hour.

comment on schema pipeline is
    'What Millrace remembers about itself: applied migrations, deployed models, what each run and backfill did.';

alter table staging.batches
    add column payload_bytes bigint not null default 0,
    add column processed_by bigint,
    add column retracted_at timestamptz;

comment on column staging.batches.payload_bytes is 'Bytes of the batch''s rows as they were sent: claims are sized by it.';
comment on column staging.batches.processed_by is 'The model version, in pipeline.model_versions, whose models took the batch.';
comment on column staging.batches.retracted_at is 'When the facts of a superseded batch were taken back.';

-- As before, and with the bytes: as jsonb writes them, since of the text that was sent nothing is left.
create or replace function staging.end_insert() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    inserts jsonb := current_setting('millrace.inserts')::jsonb;
begin
    insert into staging.batches (
        batch_id, origin, source, event_type, received_at, read_count, staged_count, payload_bytes
    )
    select
        events.batch_id, 'insert:' || events.batch_id, events.source, events.event_type, events.received_at,
        count(*), count(*), sum(octet_length(events.payload::text))
    from jsonb_each_text(inserts #> '{0,batches}') as made (batch_key, batch_id)
    join staging.events
        on events.received_at = (inserts #>> '{0,received_at}')::timestamptz
        and events.batch_id = made.batch_id::uuid
    group by events.batch_id, events.source, events.event_type, events.received_at;
    -- The statement around this one, if there is one, goes on with its own.
    perform set_config('millrace.inserts', (inserts - 0)::text, true);
    return null;
end
$$;

-- By route, so that a claim never steps over another source's backlog. `processed = false` reads this as well.
drop index staging.batches_unprocessed_idx;
create index batches_unprocessed_idx on staging.batches (source, event_type, received_at, batch_id)
where processed_at is null;
create index batches_superseded_idx on staging.batches (source, event_type)
where superseded_at is not null and retracted_at is null;

-- Locks the oldest unprocessed batches of a route, from a point in time on, until their rows or bytes suffice. A cursor,
-- since it locks one row at a time: a claim must not hold back batches that it will not take.
create function staging.claim_batches(
    claimed_source text, claimed_event_type text, since timestamptz, at_most_rows bigint, at_most_bytes bigint
) returns setof staging.batches
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    candidates cursor for
        select * from staging.batches
        where source = claimed_source
            and event_type = claimed_event_type
            and processed_at is null
            and received_at >= since
        order by received_at, batch_id
        for update skip locked;
    candidate staging.batches;
    row_count bigint := 0;
    byte_count bigint := 0;
begin
    open candidates;
    loop
        fetch candidates into candidate;
        exit when not found;
        return next candidate;
        row_count := row_count + candidate.staged_count;
        byte_count := byte_count + candidate.payload_bytes;
        exit when row_count >= at_most_rows or byte_count >= at_most_bytes;
    end loop;
    close candidates;
end
$$;

comment on function staging.claim_batches(text, text, timestamptz, bigint, bigint) is
    'Locks the oldest unprocessed batches of a source and event type that nobody else holds, until rows or bytes suffice.';

-- A model's file reads from `batch`; with this it can be tried in psql as it is, over everything that came in.
create view staging.batch as
select id, source, event_type, payload, received_at, batch_id from staging.raw_events;

comment on view staging.batch is 'Every event, under the name that models read claimed events by.';

-- The deployed models.
create table pipeline.models (
    model text not null,
    kind text not null,
    fingerprint text not null,
    definition_hash text not null,
    query text not null,
    deployed_at timestamptz not null default now(),
    constraint models_pkey primary key (model),
    constraint models_kind_known check (kind in ('fact', 'rollup', 'materialized_view', 'view'))
);

comment on table pipeline.models is 'What is deployed in schema facts, as it was deployed last.';
comment on column pipeline.models.model is 'The file''s name without .sql, and the relation''s in schema facts.';
comment on column pipeline.models.fingerprint is
    'Changes when what the relation holds would: a hash of the query as parsed, kind, sources, key and on_conflict.';
comment on column pipeline.models.definition_hash is
    'Changes when anything is to be deployed: the fingerprint, and tests, indexes and descriptions.';
comment on column pipeline.models.query is 'The SQL below the header, as it was deployed last.';

create table pipeline.model_versions (
    version_id bigint generated always as identity,
    fingerprint text not null,
    models jsonb not null,
    first_seen_at timestamptz not null default now(),
    constraint model_versions_pkey primary key (version_id),
    constraint model_versions_fingerprint_key unique (fingerprint)
);

comment on table pipeline.model_versions is 'Sets of fact models that transformed batches; staging.batches.processed_by names one.';
comment on column pipeline.model_versions.fingerprint is 'A hash of the set: the same models are the same version.';
comment on column pipeline.model_versions.models is 'The set, each model with its fingerprint: {"orders": "9f86d0…"}.';

-- One row an invocation and model, counted up in the transactions that did the work.
create table pipeline.runs (
    run_id uuid not null,
    model text not null,
    activity text not null,
    started_at timestamptz not null default now(),
    finished_at timestamptz not null default now(),
    event_count bigint not null default 0,
    row_count bigint not null default 0,
    quarantined_count bigint not null default 0,
    duration_ms bigint not null default 0,
    outcome text not null,
    detail text,
    constraint runs_pkey primary key (run_id, model),
    constraint runs_activity_known check (activity in ('transform', 'refresh', 'backfill', 'retract', 'redrive', 'test')),
    constraint runs_outcome_known check (outcome in ('ok', 'warned', 'failed', 'skipped'))
);
create index runs_model_idx on pipeline.runs (model, started_at);

comment on table pipeline.runs is 'What each run did to each model.';
comment on column pipeline.runs.run_id is 'One invocation, of a function or of the command line: the same for every model of it.';
comment on column pipeline.runs.activity is 'What the run was: transform, refresh, backfill, retract, redrive or test.';
comment on column pipeline.runs.event_count is 'Events that the model was run over.';
comment on column pipeline.runs.row_count is 'Rows written; an event may make none or several.';
comment on column pipeline.runs.quarantined_count is 'Events that the model could not take: they are in the dead-letter queue.';
comment on column pipeline.runs.duration_ms is 'Time spent at work, the sum over transactions.';
comment on column pipeline.runs.outcome is 'ok, warned (something was quarantined), failed or skipped (what it reads failed).';
comment on column pipeline.runs.detail is 'Why it failed, or was skipped.';

-- What has to be computed again: a bucket of a rollup, or all of a rollup or materialized view where `bucket` is null.
-- Triggers of the relations below add rows, in the transaction of the change, so a refresh that takes the rows away sees
-- the changes too. Without a unique key: two transforms of the same hour must not wait for each other.
create table pipeline.invalidations (
    model text not null,
    bucket jsonb
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create index invalidations_model_idx on pipeline.invalidations (model);

comment on table pipeline.invalidations is 'What refresh has to compute again.';
comment on column pipeline.invalidations.model is 'The rollup or materialized view.';
comment on column pipeline.invalidations.bucket is 'The bucket of a rollup, as jsonb writes its value; null is all of the model.';

create table pipeline.backfills (
    backfill_id uuid not null,
    model text not null,
    fingerprint text not null,
    target text not null,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    constraint backfills_pkey primary key (backfill_id),
    constraint backfills_target_known check (target in ('in_place', 'rebuild'))
);
-- One at a time for a model: the next one goes on with it.
create unique index backfills_running_key on pipeline.backfills (model) where finished_at is null;

comment on table pipeline.backfills is 'Models that run over history, in place or beside the table that they then replace.';
comment on column pipeline.backfills.fingerprint is 'The model''s fingerprint: one of another query is begun anew.';
comment on column pipeline.backfills.target is
    'in_place: facts go into the model''s table. rebuild: into <model>__rebuild, which replaces it at the end.';
comment on column pipeline.backfills.finished_at is 'When nothing was left; null while it is under way or was stopped.';

create table pipeline.backfill_batches (
    backfill_id uuid not null,
    batch_id uuid not null,
    received_at timestamptz not null,
    staged_count bigint not null,
    done_at timestamptz,
    constraint backfill_batches_pkey primary key (backfill_id, batch_id),
    constraint backfill_batches_backfill_fkey foreign key (backfill_id)
        references pipeline.backfills (backfill_id) on delete cascade
);
create index backfill_batches_waiting_idx on pipeline.backfill_batches (backfill_id, received_at, batch_id)
where done_at is null;

comment on table pipeline.backfill_batches is 'The batches that a backfill takes, and when it took each.';
comment on column pipeline.backfill_batches.received_at is 'As in staging.batches: the oldest is taken first.';
comment on column pipeline.backfill_batches.staged_count is 'As in staging.batches: chunks and progress are counted by it.';
comment on column pipeline.backfill_batches.done_at is
    'When the batch was taken, set in the transaction that wrote its facts; null while it waits.';

grant usage, create on schema pipeline to millrace_transform;
grant select on staging.batch to millrace_transform, millrace_maintain;
grant update (processed_by, retracted_at) on staging.batches to millrace_transform;
grant select, insert, update, delete
    on pipeline.models, pipeline.model_versions, pipeline.runs, pipeline.invalidations, pipeline.backfills, pipeline.backfill_batches
    to millrace_transform;
grant select on all tables in schema pipeline to millrace_maintain;
revoke execute on function staging.claim_batches(text, text, timestamptz, bigint, bigint) from public;
grant execute on function staging.claim_batches(text, text, timestamptz, bigint, bigint) to millrace_transform;
grant insert (payload_bytes) on staging.batches to millrace_ingest;
