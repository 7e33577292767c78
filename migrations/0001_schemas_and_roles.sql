-- Schemas and roles.
--
-- Why: every function connects with a role of its own that can do its work and nothing else. `staging` holds what came
-- in, `pipeline` what Millrace remembers about itself, `facts` what models write and people read.
--
-- Running code: none yet. An operator may create the roles first, with passwords or with rds_iam; roles that exist are
-- left as they are but for their settings below. Roles belong to the whole server, so a second database finds them.

create schema staging;
create schema if not exists pipeline;
create schema facts;

comment on schema staging is 'What came in: raw events, the ledger of batches, the record of loads. Append-only.';
comment on schema pipeline is 'What Millrace remembers about itself: applied migrations.';
comment on schema facts is 'What models write and people read.';

do $$
declare
    role_name text;
    attempt integer := 0;
    roles constant text[] := array['millrace_ingest', 'millrace_transform', 'millrace_maintain', 'millrace_reader'];
    position integer := 1;
begin
    while position <= array_length(roles, 1) loop
        role_name := roles[position];
        begin
            if not exists (select from pg_roles where rolname = role_name) then
                execute format('create role %I login', role_name);
            end if;
            -- search_path is fixed: a function must not find a table that somebody else put in its way.
            execute format('alter role %I set search_path = staging, facts, pg_temp', role_name);
            -- A client that stopped inside a transaction must not keep its locks.
            execute format('alter role %I set idle_in_transaction_session_timeout = %L', role_name, '60s');
            execute format('alter role %I set lock_timeout = %L', role_name, '20s');
            -- Nor one that vanished without a word, which no other timeout ends while it is in the middle of a COPY. The
            -- system's own keepalives would take hours, and the next try at the same batch waits for its claim meanwhile.
            execute format('alter role %I set tcp_keepalives_idle = %L', role_name, '10');
            execute format('alter role %I set tcp_keepalives_interval = %L', role_name, '5');
            execute format('alter role %I set tcp_keepalives_count = %L', role_name, '3');
            -- A statement that nobody waits for any more ends too.
            execute format('alter role %I set client_connection_check_interval = %L', role_name, '5s');
            -- Transforms and maintenance run for minutes; their functions set tighter limits where they can.
            execute format(
                'alter role %I set statement_timeout = %L', role_name,
                case when role_name in ('millrace_transform', 'millrace_maintain') then '15min' else '60s' end
            );
            if exists (select from pg_roles where rolname = 'rds_iam') then
                execute format('grant rds_iam to %I', role_name);
            end if;
            position := position + 1;
        exception
            -- Another database of this server is being migrated at this moment and changes the same role: an advisory
            -- lock would not reach it, so wait for its turn to end. `internal_error` is "tuple concurrently updated".
            when duplicate_object or unique_violation or internal_error then
                attempt := attempt + 1;
                if attempt > 100 then
                    raise;
                end if;
                perform pg_sleep(0.05);
        end;
    end loop;
end
$$;

revoke all on schema staging, pipeline, facts from public;
grant usage on schema staging to millrace_ingest, millrace_transform, millrace_maintain;
grant usage on schema pipeline to millrace_maintain;
grant usage, create on schema facts to millrace_transform;
grant usage on schema facts to millrace_maintain, millrace_reader;

-- Whatever the transform role creates in facts can be read.
grant millrace_transform to current_user;
alter default privileges for role millrace_transform in schema facts grant select on tables to millrace_reader;
alter default privileges in schema facts grant select on tables to millrace_reader;
