-- Schemas and roles.
--
-- Why: every function connects with its own role, which has only the privileges that the function needs. Schema `staging`
-- contains events and the ledger, `pipeline` the state of Millrace, and `facts` the relations that models write and users read.
--
-- Running code: none yet. An operator may create the roles first, with passwords or with rds_iam. For a role that exists, this
-- migration only changes the settings below. Roles belong to the server, so a second database uses the same roles.

create schema staging;
create schema if not exists pipeline;
create schema facts;

comment on schema staging is 'Raw events, the ledger of batches and the loads of files.';
comment on schema pipeline is 'The state of Millrace: applied migrations.';
comment on schema facts is 'The relations that models write.';

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
            -- A fixed search_path, so that a function never resolves a name to a table of another user.
            execute format('alter role %I set search_path = staging, facts, pg_temp', role_name);
            -- A client that stops inside a transaction must not keep its locks.
            execute format('alter role %I set idle_in_transaction_session_timeout = %L', role_name, '60s');
            execute format('alter role %I set lock_timeout = %L', role_name, '20s');
            -- Keepalives end the session of a client that disappeared during a COPY, which no other timeout does. With the
            -- system's default they take hours, and the next attempt at the batch waits for the session's locks.
            execute format('alter role %I set tcp_keepalives_idle = %L', role_name, '10');
            execute format('alter role %I set tcp_keepalives_interval = %L', role_name, '5');
            execute format('alter role %I set tcp_keepalives_count = %L', role_name, '3');
            -- Cancels a statement whose client has disconnected.
            execute format('alter role %I set client_connection_check_interval = %L', role_name, '5s');
            -- Transforms and maintenance run for minutes. Their functions set lower limits where possible.
            execute format(
                'alter role %I set statement_timeout = %L', role_name,
                case when role_name in ('millrace_transform', 'millrace_maintain') then '15min' else '60s' end
            );
            if exists (select from pg_roles where rolname = 'rds_iam') then
                execute format('grant rds_iam to %I', role_name);
            end if;
            position := position + 1;
        exception
            -- A concurrent migration of another database of this server changes the same role. Advisory locks are local to a
            -- database, so retry until it commits. `internal_error` is "tuple concurrently updated".
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

-- Tables that the transform role creates in facts are readable.
grant millrace_transform to current_user;
alter default privileges for role millrace_transform in schema facts grant select on tables to millrace_reader;
alter default privileges in schema facts grant select on tables to millrace_reader;
