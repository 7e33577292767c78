create or replace function pipeline.{function}() returns trigger
language plpgsql
security definer
set search_path = facts, staging, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, MDY'
set intervalstyle = 'postgres'
as {body};
revoke execute on function pipeline.{function}() from public;
