-- The differences between the privileges of the roles and those that the migrations grant. PUBLIC is included, because every role has
-- its privileges. In schema facts, the transform role creates relations with any names, and the reader reads them.
with
-- The privileges of each role, in the order of the migrations, with a list of columns for column privileges.
allowed (role, kind, object, privileges, columns) as (
    values
        ('millrace_ingest', 'schema', 'staging', 'USAGE', null),
        ('millrace_ingest', 'table', 'staging.events', 'INSERT', null),
        ('millrace_ingest', 'sequence', 'staging.events_id_seq', 'USAGE', null),
        ('millrace_ingest', 'table', 'staging.loads', 'SELECT', null),
        (
            'millrace_ingest', 'table', 'staging.loads', 'INSERT',
            'load_id, origin, object, source, event_type, sequencer, modified_at, on_new_version, plan'
        ),
        ('millrace_ingest', 'table', 'staging.batches', 'SELECT', null),
        (
            'millrace_ingest', 'table', 'staging.batches', 'INSERT',
            'batch_id, origin, load_id, source, event_type, received_at, read_count, staged_count, rejected_count, '
            'repaired_count, first_record, next_record, byte_start, byte_end, first_line, next_line, payload_bytes'
        ),
        ('millrace_ingest', 'table', 'staging.load_results', 'SELECT', null),
        ('millrace_ingest', 'table', 'staging.repairs', 'INSERT', null),
        ('millrace_ingest', 'table', 'staging.raw_events', 'INSERT', null),
        ('millrace_ingest', 'table', 'staging.deliveries', 'SELECT, INSERT', null),
        ('millrace_ingest', 'table', 'staging.deliveries', 'UPDATE', 'received_at, expires_at'),
        ('millrace_ingest', 'function', 'staging.ensure_partition', 'EXECUTE', null),
        ('millrace_ingest', 'function', 'staging.finish_load', 'EXECUTE', null),
        ('millrace_ingest', 'function', 'staging.begin_attempt', 'EXECUTE', null),
        ('millrace_ingest', 'function', 'staging.finish_redriven', 'EXECUTE', null),
        ('millrace_ingest', 'function', 'staging.expire_delivery_keys', 'EXECUTE', null),
        ('millrace_transform', 'schema', 'staging', 'USAGE', null),
        ('millrace_transform', 'schema', 'pipeline', 'USAGE, CREATE', null),
        ('millrace_transform', 'schema', 'facts', 'USAGE, CREATE', null),
        ('millrace_transform', 'table', 'staging.events', 'SELECT', null),
        ('millrace_transform', 'table', 'staging.loads', 'SELECT', null),
        ('millrace_transform', 'table', 'staging.load_results', 'SELECT', null),
        ('millrace_transform', 'table', 'staging.batches', 'SELECT', null),
        (
            'millrace_transform', 'table', 'staging.batches', 'UPDATE',
            'processed_at, transformed_count, quarantined_count, unmodelled_count, processed_by, retracted_at'
        ),
        ('millrace_transform', 'table', 'staging.repairs', 'SELECT', null),
        ('millrace_transform', 'table', 'staging.raw_events', 'SELECT', null),
        ('millrace_transform', 'table', 'staging.batch', 'SELECT', null),
        ('millrace_transform', 'function', 'staging.claim_batches', 'EXECUTE', null),
        ('millrace_transform', 'table', 'pipeline.models', 'SELECT, INSERT, UPDATE, DELETE', null),
        ('millrace_transform', 'table', 'pipeline.model_versions', 'SELECT, INSERT, UPDATE, DELETE', null),
        ('millrace_transform', 'table', 'pipeline.runs', 'SELECT, INSERT, UPDATE, DELETE', null),
        ('millrace_transform', 'table', 'pipeline.invalidations', 'SELECT, INSERT, UPDATE, DELETE', null),
        ('millrace_transform', 'table', 'pipeline.backfills', 'SELECT, INSERT, UPDATE, DELETE', null),
        ('millrace_transform', 'table', 'pipeline.backfill_batches', 'SELECT, INSERT, UPDATE, DELETE', null),
        ('millrace_transform', 'table', 'pipeline.quarantine', 'SELECT, INSERT, UPDATE, DELETE', null),
        ('millrace_transform', 'function', 'pipeline.recount', 'EXECUTE', null),
        ('millrace_maintain', 'schema', 'staging', 'USAGE', null),
        ('millrace_maintain', 'schema', 'pipeline', 'USAGE', null),
        ('millrace_maintain', 'schema', 'facts', 'USAGE', null),
        ('millrace_maintain', 'table', 'staging.events', 'SELECT', null),
        ('millrace_maintain', 'table', 'staging.loads', 'SELECT', null),
        ('millrace_maintain', 'table', 'staging.load_results', 'SELECT', null),
        ('millrace_maintain', 'table', 'staging.batches', 'SELECT', null),
        ('millrace_maintain', 'table', 'staging.repairs', 'SELECT', null),
        ('millrace_maintain', 'table', 'staging.raw_events', 'SELECT', null),
        ('millrace_maintain', 'table', 'staging.batch', 'SELECT', null),
        ('millrace_maintain', 'table', 'staging.deliveries', 'SELECT, DELETE', null),
        ('millrace_maintain', 'function', 'staging.ensure_partition', 'EXECUTE', null),
        ('millrace_maintain', 'function', 'staging.ensure_partitions_ahead', 'EXECUTE', null),
        ('millrace_maintain', 'function', 'staging.expire_delivery_keys', 'EXECUTE', null),
        ('millrace_maintain', 'table', 'pipeline.migrations', 'SELECT', null),
        ('millrace_maintain', 'table', 'pipeline.models', 'SELECT', null),
        ('millrace_maintain', 'table', 'pipeline.model_versions', 'SELECT', null),
        ('millrace_maintain', 'table', 'pipeline.runs', 'SELECT', null),
        ('millrace_maintain', 'table', 'pipeline.invalidations', 'SELECT', null),
        ('millrace_maintain', 'table', 'pipeline.backfills', 'SELECT', null),
        ('millrace_maintain', 'table', 'pipeline.backfill_batches', 'SELECT', null),
        ('millrace_maintain', 'table', 'pipeline.quarantine', 'SELECT', null),
        ('millrace_maintain', 'table', 'pipeline.batch_counts', 'SELECT', null),
        ('millrace_maintain', 'table', 'pipeline.lag', 'SELECT', null),
        ('millrace_maintain', 'table', 'pipeline.model_runs', 'SELECT', null),
        ('millrace_reader', 'schema', 'facts', 'USAGE', null),
        ('millrace_reader', 'schema', 'pipeline', 'USAGE', null),
        ('millrace_reader', 'table', 'pipeline.batch_counts', 'SELECT', null),
        ('millrace_reader', 'table', 'pipeline.lag', 'SELECT', null),
        ('millrace_reader', 'table', 'pipeline.model_runs', 'SELECT', null)
),
schemas as (
    select oid, nspname, nspowner, nspacl from pg_namespace where nspname in ('staging', 'pipeline', 'facts')
),
relations as (
    select
        pg_class.oid,
        case when relkind = 'S' then 'sequence' else 'table' end as kind,
        format('%I.%I', nspname, relname) as object,
        nspname,
        relowner,
        relacl
    from pg_class
    join schemas on schemas.oid = relnamespace
    where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
),
functions as (
    select format('%I.%I', nspname, proname) as object, proowner, coalesce(proacl, acldefault('f', proowner)) as proacl
    from pg_proc
    join schemas on schemas.oid = pronamespace
    where nspname <> 'facts'
),
-- The granted privileges of each role, including PUBLIC, without those of owners.
granted (grantee, kind, object, privilege, column_name) as (
    select grantee, 'schema', quote_ident(nspname), privilege_type, null
    from schemas, aclexplode(nspacl)
    where grantee <> nspowner
    union all
    select grantee, kind, object, privilege_type, null
    from relations, aclexplode(relacl)
    where grantee <> relowner
        and not (
            nspname = 'facts'
            and (grantee = to_regrole('millrace_transform')
                or (grantee = to_regrole('millrace_reader') and privilege_type = 'SELECT'))
        )
    union all
    select grantee, kind, object, privilege_type, attname::text
    from relations
    join pg_attribute on attrelid = relations.oid and not attisdropped
    cross join aclexplode(attacl)
    where grantee <> relowner and nspname <> 'facts'
    union all
    select grantee, 'function', object, privilege_type, null
    from functions, aclexplode(proacl)
    where grantee <> proowner
),
actual as (
    select
        case when grantee = 0 then 'public' else pg_get_userbyid(grantee)::text end as role,
        kind, object, privilege, column_name
    from granted
    where grantee = 0
        or pg_get_userbyid(grantee) in ('millrace_ingest', 'millrace_transform', 'millrace_maintain', 'millrace_reader')
),
wanted as (
    select role, kind, object, privilege, column_name
    from allowed
    cross join regexp_split_to_table(privileges, ', ') as privilege
    left join regexp_split_to_table(columns, ', ') as column_name on true
    -- Only for objects that exist: migrations may be pending, or a newer migration may have dropped an object.
    where case kind
        when 'schema' then to_regnamespace(object) is not null
        when 'function' then exists (select from functions where functions.object = allowed.object)
        else to_regclass(object) is not null
    end
),
owned as (
    select pg_get_userbyid(relowner)::text as role, kind, object from relations where nspname = 'staging'
    union all
    select pg_get_userbyid(nspowner)::text, 'schema', quote_ident(nspname) from schemas
    union all
    select pg_get_userbyid(proowner)::text, 'function', object from functions where object like 'staging.%'
),
surplus as (
    select * from actual
    except
    select * from wanted
),
lacking as (
    select * from wanted
    where to_regrole(role) is not null
    except
    select * from actual
)
select 'more' as difference, role, kind, object, privilege, string_agg(column_name, ', ' order by column_name) as columns
from surplus
group by role, kind, object, privilege, column_name is null
union all
select 'less', role, kind, object, privilege, string_agg(column_name, ', ' order by column_name)
from lacking
group by role, kind, object, privilege, column_name is null
union all
select 'owner', role, kind, object, 'ALL', null
from owned
where role in ('millrace_ingest', 'millrace_transform', 'millrace_maintain', 'millrace_reader')
order by difference, role, kind, object, privilege
