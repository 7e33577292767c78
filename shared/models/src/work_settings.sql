-- Local to the transaction, so that a pooler can give the connection to another client afterwards.
select
    -- The command line connects as the owner, but the role of the functions must own the relations that it creates.
    set_config('role', 'millrace_transform', true),
    -- The setting of this role: a statement that waits for a lock blocks all later statements on the table.
    set_config('lock_timeout', '20s', true),
    -- Models take precedence over other relations of the same name.
    set_config('search_path', 'facts, staging, pg_temp', true),
    -- The value of a date without a time zone, or with ambiguous day and month, must not depend on the session.
    set_config('timezone', 'UTC', true),
    set_config('datestyle', 'ISO, MDY', true),
    set_config('intervalstyle', 'postgres', true),
    -- All events are different, so a cache of query results has no hits.
    set_config('enable_memoize', 'off', true),
    -- JIT compilation takes longer than a claim.
    set_config('jit', 'off', true)
