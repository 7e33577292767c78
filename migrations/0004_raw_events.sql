-- raw_events: a staging table with a `processed` flag, as a view.
--
-- Why: users and programs expect a table with a `processed` flag that they can select from and insert into. `processed` is derived
-- from the batch, so a query for unprocessed events reads only unprocessed batches, and every other query reads no batches.
--
-- Running code: none yet. This migration appends `staging` and `facts` to the search_path of the database, for sessions that begin
-- later. Names that resolve now still resolve to the same relations.

-- At most these two joins, each with a small partial index of the ledger (0003). A condition on `processed` or on the events
-- therefore costs what its rows cost: `processed = false` begins at the unprocessed batches, and every other query begins at the
-- events. A view that joined every event to its batch read the whole ledger: docs/decisions/0007-raw-events-begins-at-events.md.
create view staging.raw_events as
select
    events.id,
    events.source,
    events.event_type,
    events.payload,
    events.received_at,
    (unprocessed.batch_id is null) as processed,
    events.batch_id
from staging.events
left join staging.batches as unprocessed
    on unprocessed.received_at = events.received_at
    and unprocessed.batch_id = events.batch_id
    and unprocessed.processed_at is null
    and unprocessed.superseded_at is null
where not exists (
    select
    from staging.batches as superseded
    where superseded.received_at = events.received_at
        and superseded.batch_id = events.batch_id
        and superseded.superseded_at is not null
);

comment on view staging.raw_events is
    'Every event, and whether it has been processed. INSERT (source, event_type, payload) is supported.';
comment on column staging.raw_events.processed is 'True after the batch of the event was transformed.';

-- UUID version 7 begins with the milliseconds since 1970, so that ids sort by time. PostgreSQL 18 has its own function.
create function staging.uuid_v7() returns uuid
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    select encode(
        set_bit(
            set_bit(
                overlay(
                    uuid_send(gen_random_uuid())
                    placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
                    from 1 for 6
                ),
                52, 1
            ),
            53, 1
        ),
        'hex'
    )::uuid
$$;

-- An INSERT into the view creates one batch for each source and event type of the statement. The triggers of a view see one row
-- at a time, so a setting of the transaction holds the batches of the statement until it ends. The setting is a stack with the
-- innermost statement first, because a row may come from a function that inserts into raw_events. jsonb writes a timestamp in
-- ISO 8601 with its offset, independent of DateStyle and TimeZone.
create function staging.begin_insert() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config(
        'millrace.inserts',
        (
            jsonb_build_array(jsonb_build_object('received_at', clock_timestamp(), 'batches', '{}'::jsonb))
            || coalesce(nullif(current_setting('millrace.inserts', true), '')::jsonb, '[]')
        )::text,
        true
    );
    return null;
end
$$;

create function staging.insert_event() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    inserts jsonb := current_setting('millrace.inserts')::jsonb;
    batch_key text := jsonb_build_array(new.source, new.event_type)::text;
begin
    if new.id is not null or new.batch_id is not null or new.received_at is not null or new.processed is not null then
        raise exception 'only source, event_type and payload can be inserted into raw_events; the other columns are generated'
            using errcode = 'generated_always';
    end if;
    new.received_at := (inserts #>> '{0,received_at}')::timestamptz;
    new.batch_id := (inserts #>> array['0', 'batches', batch_key])::uuid;
    if new.batch_id is null then
        new.batch_id := staging.uuid_v7();
        perform set_config(
            'millrace.inserts',
            jsonb_set(inserts, array['0', 'batches', batch_key], to_jsonb(new.batch_id))::text,
            true
        );
        perform staging.ensure_partition((new.received_at at time zone 'UTC')::date);
    end if;
    insert into staging.events (received_at, batch_id, source, event_type, payload)
    values (new.received_at, new.batch_id, new.source, new.event_type, new.payload)
    returning id into new.id;
    new.processed := false;
    return new;
end
$$;

create function staging.end_insert() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    inserts jsonb := current_setting('millrace.inserts')::jsonb;
begin
    insert into staging.batches (batch_id, origin, source, event_type, received_at, read_count, staged_count)
    select events.batch_id, 'insert:' || events.batch_id, events.source, events.event_type, events.received_at, count(*), count(*)
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

revoke execute on function
    staging.uuid_v7(), staging.begin_insert(), staging.insert_event(), staging.end_insert() from public;

create trigger raw_events_begin_insert before insert on staging.raw_events
for each statement execute function staging.begin_insert();
create trigger raw_events_insert instead of insert on staging.raw_events
for each row execute function staging.insert_event();
create trigger raw_events_end_insert after insert on staging.raw_events
for each statement execute function staging.end_insert();

grant insert on staging.raw_events to millrace_ingest;
grant select on staging.raw_events to millrace_transform, millrace_maintain;

do $$
declare
    present text;
begin
    -- The search_path of a new session of another role: the setting of this database, of all databases, or of the server. The
    -- value of this session is used only if it comes from the server's configuration.
    select coalesce(
        (
            select substring(setting from '^search_path=(.*)$')
            from pg_db_role_setting, unnest(setconfig) as setting
            where setrole = 0 and setting like 'search_path=%'
                and setdatabase in (0, (select oid from pg_database where datname = current_database()))
            order by setdatabase desc
            limit 1
        ),
        (
            select reset_val from pg_settings
            where name = 'search_path' and source in ('configuration file', 'command line', 'environment variable')
        ),
        '"$user", public'
    ) into present;
    if present !~ '\mstaging\M' then
        execute format('alter database %I set search_path = %s, staging, facts', current_database(), present);
    end if;
end
$$;
