-- Models: the state of transforms and refreshes, and the function that claims batches.
--
-- Why: facts, counts and the mark that a batch is processed commit together, so the state of the models is in the same database.
-- A processed batch refers to a model version, which is the set of models that processed it. The batches that a model has not
-- seen are therefore known, and a backfill can process exactly these, whatever else runs concurrently.
--
-- Running code: earlier functions keep working. Batches that they stage have a `payload_bytes` of 0.
--
-- An operator: this migration builds indexes on staging.batches, and ingestion waits until it commits. The ledger has one row per
-- batch, so this is short. If the ledger is very large, migrate when few events arrive.

comment on schema pipeline is
    'The state of Millrace: applied migrations, deployed models, runs and backfills.';

alter table staging.batches
    add column payload_bytes bigint not null default 0,
    add column processed_by bigint,
    add column retracted_at timestamptz;

comment on column staging.batches.payload_bytes is 'Bytes of the payloads as they were sent. Claims are limited by it.';
comment on column staging.batches.processed_by is
    'The model version, in pipeline.model_versions, whose models processed the batch.';
comment on column staging.batches.retracted_at is 'When the facts of the superseded batch were retracted.';

-- Also sets payload_bytes, to the size of the payloads as jsonb writes them, because the original text is not available.
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
    -- Remove this statement from the stack. An outer statement continues with its own batches.
    perform set_config('millrace.inserts', (inserts - 0)::text, true);
    return null;
end
$$;

create index batches_retracted_idx on staging.batches (source, event_type)
where superseded_at is not null and retracted_at is null;

-- Locks the oldest unprocessed batches of a source and event type that were received at or after `since`, until they reach the
-- limit of rows or bytes. A cursor locks one row at a time, so that a claim does not lock batches that it does not take.
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
    'Locks the oldest unprocessed batches of a source and event type that are not locked, up to a number of rows or bytes.';

-- Models read from `batch`. With this view, the query of a model can be run in psql unchanged, over all events.
create view staging.batch as
select id, source, event_type, payload, received_at, batch_id from staging.raw_events;

comment on view staging.batch is 'Every event, under the name that models use for the events of a claim.';

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

comment on table pipeline.models is 'The models that are deployed in schema facts.';
comment on column pipeline.models.model is 'The name of the file without .sql, and of the relation in schema facts.';
comment on column pipeline.models.fingerprint is
    'A hash of everything that determines the rows: the parsed query, kind, sources, key and on_conflict.';
comment on column pipeline.models.definition_hash is
    'A hash of everything that is deployed: the fingerprint, tests, indexes and descriptions.';
comment on column pipeline.models.query is 'The SQL below the header of the deployed file.';

create table pipeline.model_versions (
    version_id bigint generated always as identity,
    fingerprint text not null,
    models jsonb not null,
    first_seen_at timestamptz not null default now(),
    constraint model_versions_pkey primary key (version_id),
    constraint model_versions_fingerprint_key unique (fingerprint)
);

comment on table pipeline.model_versions is
    'Sets of fact models that transformed batches. staging.batches.processed_by refers to one.';
comment on column pipeline.model_versions.fingerprint is 'A hash of the set. The same models have the same version.';
comment on column pipeline.model_versions.models is 'The set, each model with its fingerprint: {"orders": "9f86d0…"}.';

-- One row per invocation and model. The transactions that do the work update its counts.
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
    constraint runs_activity_known check (activity in ('transform', 'refresh', 'backfill', 'retract', 'redrive')),
    constraint runs_outcome_known check (outcome in ('ok', 'warned', 'failed', 'skipped'))
);
create index runs_model_idx on pipeline.runs (model, started_at);

comment on table pipeline.runs is 'The result of each run for each model.';
comment on column pipeline.runs.run_id is
    'One invocation of a function or of the command line. All models of a run have the same value.';
comment on column pipeline.runs.activity is 'transform, refresh, backfill, retract or redrive.';
comment on column pipeline.runs.event_count is 'Events that the model processed.';
comment on column pipeline.runs.row_count is 'Rows written. An event can produce no row or several.';
comment on column pipeline.runs.quarantined_count is 'Events that the model refused. They are in the dead-letter queue.';
comment on column pipeline.runs.duration_ms is 'Sum of the durations of the transactions.';
comment on column pipeline.runs.outcome is
    'ok, warned (events were quarantined), failed, or skipped (a relation that it reads failed).';
comment on column pipeline.runs.detail is 'Why the run failed or was skipped.';

-- Buckets of rollups that must be recomputed. If `bucket` is null, the whole rollup or materialized view must be. Triggers on the
-- relations that it reads insert rows in the transaction of the change, so a refresh that deletes the rows sees the changes. There
-- is no unique key, so that two transforms that change the same bucket do not wait for each other.
create table pipeline.invalidations (
    model text not null,
    bucket jsonb
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create index invalidations_model_idx on pipeline.invalidations (model);

comment on table pipeline.invalidations is 'Buckets and relations that refresh must recompute.';
comment on column pipeline.invalidations.model is 'The rollup or materialized view.';
comment on column pipeline.invalidations.bucket is 'The bucket of a rollup, as jsonb. Null means the whole model.';

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
-- A model has at most one unfinished backfill. The next run continues it.
create unique index backfills_running_key on pipeline.backfills (model) where finished_at is null;

comment on table pipeline.backfills is
    'Backfills of models: in place, or into a new table that replaces the old one at the end.';
comment on column pipeline.backfills.fingerprint is
    'The fingerprint of the model. If the query changes, the backfill begins again.';
comment on column pipeline.backfills.target is
    'in_place: writes to the table of the model. rebuild: writes to <model>__rebuild, which replaces the table at the end.';
comment on column pipeline.backfills.finished_at is
    'When all batches were done; null while it runs or after it was stopped.';

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

comment on table pipeline.backfill_batches is 'The batches that a backfill processes, and when it processed each of them.';
comment on column pipeline.backfill_batches.received_at is 'As in staging.batches. The oldest batch is processed first.';
comment on column pipeline.backfill_batches.staged_count is
    'As in staging.batches. Determines the size of transactions and the progress.';
comment on column pipeline.backfill_batches.done_at is
    'When the batch was processed, set in the transaction that wrote its facts; null before.';

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
