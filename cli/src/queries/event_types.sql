with
-- Versions of objects whose load began, however it ended.
files as (
    select
        loads.source,
        loads.event_type,
        count(*) as file_count,
        count(*) filter (where load_results.load_id is null) as under_way_count,
        count(*) filter (where load_results.outcome in ('failed', 'stopped')) as failed_count
    from staging.loads
    left join staging.load_results on load_results.load_id = loads.load_id
    group by loads.source, loads.event_type
),
-- What the ledger says. A batch that a newer version of its object replaced waits for nobody.
ledger as (
    select
        source,
        event_type,
        count(*) as batch_count,
        sum(read_count)::bigint as read_count,
        sum(staged_count)::bigint as staged_count,
        sum(rejected_count)::bigint as rejected_count,
        sum(repaired_count)::bigint as repaired_count,
        coalesce(sum(staged_count) filter (where processed_at is null and superseded_at is null), 0)::bigint
            as unprocessed_count,
        coalesce(sum(staged_count) filter (where processed_at is not null), 0)::bigint as processed_count,
        sum(transformed_count)::bigint as transformed_count,
        sum(quarantined_count)::bigint as quarantined_count,
        sum(unmodelled_count)::bigint as unmodelled_count,
        extract(
            epoch from now() - min(received_at) filter (where processed_at is null and superseded_at is null)
        )::double precision as oldest_unprocessed_seconds,
        coalesce(sum(staged_count) filter (where received_at > now() - interval '1 minute'), 0)::double precision / 60
            as rows_per_second_minute,
        coalesce(sum(staged_count) filter (where received_at > now() - interval '1 hour'), 0)::double precision / 3600
            as rows_per_second_hour
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
    coalesce(ledger.read_count, 0) as read_count,
    coalesce(ledger.staged_count, 0) as staged_count,
    coalesce(ledger.rejected_count, 0) as rejected_count,
    coalesce(ledger.repaired_count, 0) as repaired_count,
    coalesce(ledger.unprocessed_count, 0) as unprocessed_count,
    coalesce(ledger.processed_count, 0) as processed_count,
    coalesce(ledger.transformed_count, 0) as transformed_count,
    coalesce(ledger.quarantined_count, 0) as quarantined_count,
    coalesce(ledger.unmodelled_count, 0) as unmodelled_count,
    ledger.oldest_unprocessed_seconds,
    coalesce(ledger.rows_per_second_minute, 0) as rows_per_second_minute,
    coalesce(ledger.rows_per_second_hour, 0) as rows_per_second_hour
from files
full join ledger on ledger.source = files.source and ledger.event_type = files.event_type
order by source, event_type
