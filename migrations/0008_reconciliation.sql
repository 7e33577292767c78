-- Reconciliation: views of counts, lag and the runs of models.
--
-- Why: `millrace status`, `millrace doctor`, alarms and dashboards must report the same figures, so they read the same views. The
-- views contain counts, times and names, never a payload. Roles that read facts can read them.
--
-- Running code: not affected. New invalidations have their own time. Existing invalidations have the time of this migration.
--
-- An operator: the user of a dashboard needs membership in millrace_reader only. Each view reads the ledger, which has one row per
-- batch, and no events. Query the views at most once per minute.

-- Since when a rollup or materialized view is stale.
alter table pipeline.invalidations add column invalidated_at timestamptz not null default now();

comment on column pipeline.invalidations.invalidated_at is 'When the transaction that invalidated it began.';

create view pipeline.batch_counts as
with
-- Versions of objects, with the outcome of their last attempt.
versions as (
    select distinct on (loads.origin)
        loads.source, loads.event_type, load_results.outcome
    from staging.loads
    left join staging.load_results on load_results.load_id = loads.load_id
    order by loads.origin, loads.started_at desc, loads.load_id desc
),
files as (
    select
        source,
        event_type,
        count(*) as file_count,
        count(*) filter (where outcome is null) as under_way_count,
        count(*) filter (where outcome in ('failed', 'stopped')) as failed_count
    from versions
    group by source, event_type
),
-- Completed loads: the records that their reader counted, and the records of their batches. A batch without a position in the
-- file contains a redriven record, which the count of the file already includes.
loaded as (
    select
        loads.source,
        loads.event_type,
        load_results.record_count,
        coalesce(sum(batches.read_count), 0) as read_count
    from staging.load_results
    join staging.loads on loads.load_id = load_results.load_id
    left join staging.batches on batches.load_id = loads.load_id and batches.first_record is not null
    where load_results.outcome = 'loaded'
    group by loads.load_id, load_results.load_id
),
records as (
    select source, event_type, sum(abs(record_count - read_count)) as record_difference
    from loaded
    group by source, event_type
),
-- The ledger. A superseded batch is not unprocessed.
ledger as (
    select
        source,
        event_type,
        count(*) as batch_count,
        sum(read_count) as read_count,
        sum(staged_count) as staged_count,
        sum(rejected_count) as rejected_count,
        sum(repaired_count) as repaired_count,
        sum(staged_count) filter (where processed_at is null and superseded_at is null) as unprocessed_count,
        sum(staged_count) filter (where processed_at is not null) as processed_count,
        sum(transformed_count) as transformed_count,
        sum(quarantined_count) as quarantined_count,
        sum(unmodelled_count) as unmodelled_count,
        min(received_at) filter (where processed_at is null and superseded_at is null) as oldest_unprocessed_at,
        sum(staged_count) filter (where received_at > now() - interval '1 minute') as staged_last_minute,
        sum(staged_count) filter (where received_at > now() - interval '1 hour') as staged_last_hour,
        -- Absolute differences per batch, so that a surplus in one batch cannot hide a deficit in another.
        sum(abs(read_count - staged_count - rejected_count)) as read_difference,
        sum(
            abs(
                case when processed_at is null then 0 else staged_count end
                - transformed_count - quarantined_count - unmodelled_count
            )
        ) as processed_difference
    from staging.batches
    group by source, event_type
)
select
    coalesce(files.source, ledger.source) as source,
    coalesce(files.event_type, ledger.event_type) as event_type,
    coalesce(files.file_count, 0) as file_count,
    coalesce(files.under_way_count, 0) as under_way_count,
    coalesce(files.failed_count, 0) as failed_count,
    coalesce(ledger.batch_count, 0) as batch_count,
    coalesce(ledger.read_count, 0)::bigint as read_count,
    coalesce(ledger.staged_count, 0)::bigint as staged_count,
    coalesce(ledger.rejected_count, 0)::bigint as rejected_count,
    coalesce(ledger.repaired_count, 0)::bigint as repaired_count,
    coalesce(ledger.unprocessed_count, 0)::bigint as unprocessed_count,
    coalesce(ledger.processed_count, 0)::bigint as processed_count,
    coalesce(ledger.transformed_count, 0)::bigint as transformed_count,
    coalesce(ledger.quarantined_count, 0)::bigint as quarantined_count,
    coalesce(ledger.unmodelled_count, 0)::bigint as unmodelled_count,
    extract(epoch from now() - ledger.oldest_unprocessed_at)::double precision as oldest_unprocessed_seconds,
    coalesce(ledger.staged_last_minute, 0)::double precision / 60 as rows_per_second_minute,
    coalesce(ledger.staged_last_hour, 0)::double precision / 3600 as rows_per_second_hour,
    coalesce(ledger.read_difference, 0)::bigint as read_difference,
    coalesce(ledger.processed_difference, 0)::bigint as processed_difference,
    coalesce(records.record_difference, 0)::bigint as record_difference
from files
full join ledger on ledger.source = files.source and ledger.event_type = files.event_type
left join records
    on records.source = coalesce(files.source, ledger.source)
    and records.event_type = coalesce(files.event_type, ledger.event_type);

comment on view pipeline.batch_counts is
    'Counts of files, batches and events by source and event type. The columns that end in _difference are always 0 unless there is an error.';
comment on column pipeline.batch_counts.file_count is 'Versions of objects whose load began.';
comment on column pipeline.batch_counts.under_way_count is 'Versions of objects whose load has not ended.';
comment on column pipeline.batch_counts.failed_count is 'Versions of objects whose last attempt failed or was stopped.';
comment on column pipeline.batch_counts.read_count is 'Records read = staged + rejected.';
comment on column pipeline.batch_counts.rejected_count is 'Records that were sent to the dead-letter queue.';
comment on column pipeline.batch_counts.unprocessed_count is 'Staged rows that no transform has processed yet.';
comment on column pipeline.batch_counts.processed_count is
    'Rows of processed batches = transformed + quarantined + unmodelled.';
comment on column pipeline.batch_counts.quarantined_count is
    'Events that a model refused. They are in the dead-letter queue.';
comment on column pipeline.batch_counts.unmodelled_count is 'Events of a source and event type that no model reads.';
comment on column pipeline.batch_counts.oldest_unprocessed_seconds is
    'Age of the oldest unprocessed batch; null if there is none.';
comment on column pipeline.batch_counts.rows_per_second_minute is 'Rows staged over the last minute, per second.';
comment on column pipeline.batch_counts.rows_per_second_hour is 'Rows staged over the last hour, per second.';
comment on column pipeline.batch_counts.read_difference is
    'Difference between read and staged + rejected, summed over batches. A value other than 0 is an error.';
comment on column pipeline.batch_counts.processed_difference is
    'Difference between staged and transformed + quarantined + unmodelled, summed over processed batches. A value other than 0 is an error.';
comment on column pipeline.batch_counts.record_difference is
    'Difference between the records of loaded files and the records of their batches, summed over loads. A value other than 0 is an error.';

create view pipeline.lag as
with
unprocessed as (
    select
        source,
        event_type,
        count(*) as batch_count,
        sum(staged_count) as row_count,
        min(received_at) as oldest_received_at,
        (array_agg(batch_id order by received_at, batch_id))[1] as oldest_batch_id
    from staging.batches
    where processed_at is null and superseded_at is null
    group by source, event_type
),
batches as (
    select
        source,
        event_type,
        max(received_at) as newest_received_at,
        max(processed_at) as newest_processed_at,
        percentile_cont(array[0.5, 0.95]) within group (order by extract(epoch from processed_at - received_at))
            filter (where processed_at > now() - interval '1 hour') as transform_seconds
    from staging.batches
    group by source, event_type
)
select
    batches.source,
    batches.event_type,
    coalesce(unprocessed.batch_count, 0) as unprocessed_batch_count,
    coalesce(unprocessed.row_count, 0)::bigint as unprocessed_row_count,
    unprocessed.oldest_batch_id,
    unprocessed.oldest_received_at,
    extract(epoch from now() - unprocessed.oldest_received_at)::double precision as oldest_seconds,
    batches.newest_received_at,
    batches.newest_processed_at,
    batches.transform_seconds[1] as transform_seconds_p50,
    batches.transform_seconds[2] as transform_seconds_p95
from batches
left join unprocessed on unprocessed.source = batches.source and unprocessed.event_type = batches.event_type;

comment on view pipeline.lag is
    'Unprocessed batches, and the recent duration from receipt to facts, by source and event type.';
comment on column pipeline.lag.oldest_batch_id is 'The oldest unprocessed batch; null if there is none.';
comment on column pipeline.lag.oldest_seconds is 'Age of the oldest unprocessed batch.';
comment on column pipeline.lag.newest_received_at is 'When the newest batch was received, processed or not.';
comment on column pipeline.lag.newest_processed_at is 'When a batch was processed last.';
comment on column pipeline.lag.transform_seconds_p50 is
    'Median time from receipt to facts of the batches transformed within the last hour; null if there are none.';
comment on column pipeline.lag.transform_seconds_p95 is 'The same, as the 95th percentile.';

create view pipeline.model_runs as
with recursive
-- The distinct names of models with a run, by one index probe per name, because the table has many rows and few names.
run_names (model) as (
    select min(model) from pipeline.runs
    union all
    select (select min(runs.model) from pipeline.runs where runs.model > run_names.model)
    from run_names
    where run_names.model is not null
),
invalidated as (
    select
        model,
        min(invalidated_at) as stale_since,
        bool_or(bucket is null) as is_all_stale,
        count(distinct bucket) as stale_bucket_count
    from pipeline.invalidations
    group by model
),
-- A materialized view that was created manually is invalidated and refreshed like that of a model.
names as (
    select model from pipeline.models
    union
    select model from invalidated
    union
    select model from run_names where model is not null
)
select
    names.model,
    coalesce(models.kind, 'not deployed') as kind,
    models.deployed_at,
    last.run_id,
    last.activity,
    last.started_at,
    last.finished_at,
    last.outcome,
    last.detail,
    last.event_count,
    last.row_count,
    last.quarantined_count,
    last.duration_ms,
    last_ok.finished_at as last_ok_at,
    invalidated.stale_since,
    case when invalidated.is_all_stale then null else invalidated.stale_bucket_count end as stale_bucket_count
from names
left join pipeline.models on models.model = names.model
left join invalidated on invalidated.model = names.model
left join lateral (
    select * from pipeline.runs where runs.model = names.model order by runs.started_at desc, runs.run_id desc limit 1
) as last on true
left join lateral (
    select finished_at
    from pipeline.runs
    where runs.model = names.model and runs.outcome in ('ok', 'warned')
    order by runs.started_at desc
    limit 1
) as last_ok on true
-- A model that was never deployed is listed for one day after its last run.
where models.model is not null or invalidated.model is not null or last.finished_at > now() - interval '1 day';

comment on view pipeline.model_runs is
    'Each model with its last run, its last successful run, and what refresh must recompute. A model whose deployment failed is listed for a day.';
comment on column pipeline.model_runs.kind is 'fact, rollup, materialized_view, view or not deployed.';
comment on column pipeline.model_runs.activity is 'The activity of the last run, as in pipeline.runs.';
comment on column pipeline.model_runs.outcome is
    'Outcome of the last run: ok, warned (events were quarantined), failed or skipped.';
comment on column pipeline.model_runs.detail is 'Why the last run failed or was skipped.';
comment on column pipeline.model_runs.duration_ms is 'Duration of the transactions of the last run.';
comment on column pipeline.model_runs.last_ok_at is 'When the last run with the outcome ok or warned ended.';
comment on column pipeline.model_runs.stale_since is
    'Time of the first change that a rollup or materialized view does not show yet; null if it shows all changes.';
comment on column pipeline.model_runs.stale_bucket_count is
    'Buckets of a rollup that must be recomputed; null if all of them must be, or none.';

grant usage on schema pipeline to millrace_reader;
grant select on pipeline.batch_counts, pipeline.lag, pipeline.model_runs to millrace_maintain, millrace_reader;
