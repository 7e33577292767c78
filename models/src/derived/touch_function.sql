create or replace function pipeline.{function}() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, staging, facts, pg_temp
set timezone = 'UTC'
as {body};
revoke execute on function pipeline.{function}() from public;
