-- What dead letters are put back by.
--
-- Why: a dead letter may come back any number of times, and its event must be counted once. Which events a model has refused,
-- and not taken since, is said here, in the transaction that refused them; a dead letter whose event is not named here has
-- nothing left to do. The same rows make the ledger's counts exact, whatever refused an event: a claim, a backfill or a
-- rebuild.
--
-- Running code: a transform of before quarantines without these rows; its dead letters are found to be of no event that waits,
-- and left in the queue.

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
    'Events that a model could not take, and has not taken since. Each has a dead letter in the dead-letter queue.';
comment on column pipeline.quarantine.batch_id is 'The event''s batch, in staging.batches.';
comment on column pipeline.quarantine.event_id is
    'The event''s id in raw_events; with received_at of its batch it is found in one partition.';
comment on column pipeline.quarantine.model is 'The model; <model>__rebuild for what its rebuild under way refused so far.';
comment on column pipeline.quarantine.dead_letter_id is 'The id of the dead letter, in the dead-letter queue and in the logs.';
comment on column pipeline.quarantine.quarantined_at is 'When the model refused it last.';
comment on column pipeline.quarantine.sqlstate is 'Why, as PostgreSQL classes it; the message is in the dead letter alone.';

-- Counts the events of processed batches again: what a model refuses is quarantined, what is left was transformed. A batch
-- that no model took stays unmodelled.
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
    'Sets transformed and quarantined counts of processed batches by pipeline.quarantine.';

grant select, insert, update, delete on pipeline.quarantine to millrace_transform;
grant select on pipeline.quarantine to millrace_maintain;
revoke execute on function pipeline.recount(uuid[]) from public;
grant execute on function pipeline.recount(uuid[]) to millrace_transform;
