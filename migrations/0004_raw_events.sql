-- raw_events: the familiar staging table, as a view.
--
-- Why: people and programs know a table with a `processed` flag. They keep it, both ways: select from it, insert into
-- it. Underneath, `processed` is a fact about a batch, so reading what is unprocessed invalidates those batches alone.
--
-- Running code: none yet. The database's search_path gains `staging` and `facts` at its end, for sessions that begin
-- after this; names that resolve today resolve as before.

create view staging.raw_events as
select
    events.id,
    events.source,
    events.event_type,
    events.payload,
    events.received_at,
    (batches.processed_at is not null) as processed,
    events.batch_id
from staging.batches
-- A plain join, so that conditions on payload reach the events' own indexes.
join staging.events on events.received_at = batches.received_at and events.batch_id = batches.batch_id
where batches.superseded_at is null;

comment on view staging.raw_events is 'Every event: what came in, and whether it has been processed. INSERT (source, event_type, payload) works too.';
comment on column staging.raw_events.processed is 'True once the event''s batch has been transformed.';

-- Version 7: milliseconds since 1970 in front, so that ids sort by time. PostgreSQL has its own from 18 on.
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

-- An INSERT on the view makes one batch for each source and event type of the statement. A view's triggers see one row
-- at a time, so the statement's batches are remembered in a setting of the transaction until the statement ends.
-- A stack, the innermost statement first: a row may come from a function that inserts into raw_events itself. jsonb
-- writes a timestamp in ISO 8601 with its offset, whatever DateStyle and TimeZone the session has.
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
        raise exception 'raw_events takes source, event_type and payload; id, received_at, processed and batch_id are given'
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
    -- The statement around this one, if there is one, goes on with its own.
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
    -- What a new session of somebody else would get: this database's setting, every role's, or the server's own. The
    -- value of this session counts only where it comes from the server's configuration.
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
