-- Quarantined events, for redriving their dead letters.
--
-- Why: a dead letter can be redriven several times, and its event must be counted once. The transaction in which a model refuses
-- an event inserts a row here, and the transaction in which the model accepts it deletes the row. A dead letter whose event has
-- no row here needs no work. The same rows make the counts of the ledger exact, whether a claim, a backfill or a rebuild refused
-- the event.
--
-- Running code: an earlier transform quarantines events without these rows. Their dead letters stay in the queue when they are
-- redriven.

create table pipeline.quarantine (
    batch_id uuid not null,
    event_id bigint not null,
    model text not null,
    dead_letter_id uuid not null,
    sqlstate text not null,
    quarantined_at timestamptz not null default now(),
    constraint quarantine_pkey primary key (batch_id, event_id, model)
);
create index quarantine_model_idx on pipeline.quarantine (model);

comment on table pipeline.quarantine is
    'Events that a model refused and has not accepted since. Each has a dead letter in the dead-letter queue.';
comment on column pipeline.quarantine.batch_id is 'The event''s batch, in staging.batches.';
comment on column pipeline.quarantine.event_id is
    'The id of the event in raw_events. Together with received_at of its batch, it identifies a row in one partition.';
comment on column pipeline.quarantine.model is
    'The model, or <model>__rebuild for events that an unfinished rebuild refused.';
comment on column pipeline.quarantine.dead_letter_id is
    'The id of the dead letter, as in the dead-letter queue and in the logs.';
comment on column pipeline.quarantine.quarantined_at is 'When the model refused the event last.';
comment on column pipeline.quarantine.sqlstate is 'The SQLSTATE of the error. Only the dead letter has the message.';

-- Recounts the events of processed batches. Events that a model refuses are quarantined, and the others are transformed. The counts
-- of a batch without a model do not change.
create function pipeline.recount(recounted uuid[]) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    with counted as (
        select batches.batch_id, count(distinct quarantine.event_id) as quarantined_count
        from staging.batches
        left join pipeline.quarantine
            on quarantine.batch_id = batches.batch_id and quarantine.model not like '%\_\_rebuild'
        where batches.batch_id = any (recounted)
            and batches.processed_at is not null
            and batches.unmodelled_count = 0
        group by batches.batch_id
    )
    update staging.batches
    set quarantined_count = counted.quarantined_count,
        transformed_count = staged_count - counted.quarantined_count
    from counted
    where batches.batch_id = counted.batch_id and batches.quarantined_count <> counted.quarantined_count
$$;

comment on function pipeline.recount(uuid[]) is
    'Sets transformed_count and quarantined_count of processed batches from pipeline.quarantine.';

grant select, insert, update, delete on pipeline.quarantine to millrace_transform;
grant select on pipeline.quarantine to millrace_maintain;
revoke execute on function pipeline.recount(uuid[]) from public;
grant execute on function pipeline.recount(uuid[]) to millrace_transform;
