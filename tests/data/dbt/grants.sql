-- Creates the role that dbt connects as. Run this once, as the owner of the database. The role reads two relations and writes
-- to its own schema. Set its password, or grant it rds_iam, separately.
create role dbt login;
grant usage on schema staging to dbt;
grant select on staging.raw_events, staging.batches to dbt;
create schema analytics authorization dbt;
