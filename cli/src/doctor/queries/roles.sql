-- The roles of functions and readers, by their names.
with
expected (role, search_path) as (
    values
        ('millrace_ingest', 'staging, facts, pg_temp'),
        ('millrace_transform', 'staging, facts, pg_temp'),
        ('millrace_maintain', 'staging, facts, pg_temp'),
        ('millrace_reader', 'staging, facts, pg_temp')
)
select
    expected.role,
    expected.search_path,
    pg_roles.oid is not null as role_exists,
    coalesce(
        array_remove(
            array[
                case when rolsuper then 'superuser' end,
                case when rolcreaterole then 'createrole' end,
                case when rolcreatedb then 'createdb' end,
                case when rolbypassrls then 'bypassrls' end,
                case when rolreplication then 'replication' end
            ],
            null
        ),
        '{}'
    ) as attributes,
    -- A member has the privileges of the role. rds_iam is the role for IAM authentication in RDS.
    coalesce(
        (
            select array_agg(pg_get_userbyid(roleid)::text order by 1)
            from pg_auth_members
            where member = pg_roles.oid and pg_get_userbyid(roleid) <> 'rds_iam'
        ),
        '{}'
    ) as memberships,
    -- The timeouts release the locks of a stopped client. search_path prevents that names resolve to tables of other users.
    coalesce(
        (
            select array_agg(name order by name)
            from unnest(
                array['idle_in_transaction_session_timeout', 'lock_timeout', 'search_path', 'statement_timeout']
            ) as needed (name)
            where not exists (
                select from unnest(rolconfig) as setting where split_part(setting, '=', 1) = needed.name
            )
        ),
        '{}'
    ) as missing_settings,
    (
        select substring(setting from '^search_path=(.*)$') from unnest(rolconfig) as setting where setting like 'search_path=%'
    ) as present_search_path,
    case when isfinite(rolvaliduntil) then extract(epoch from rolvaliduntil - now())::double precision end
        as password_seconds_left
from expected
left join pg_roles on pg_roles.rolname = expected.role
order by expected.role
