-- The role that dbt connects as, once, as the owner of the database. It reads two relations and writes a schema of its
-- own; give it a password, or rds_iam, apart from this.
create role dbt login;
grant usage on schema staging to dbt;
grant select on staging.raw_events, staging.batches to dbt;
create schema analytics authorization dbt;
