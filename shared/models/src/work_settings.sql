-- For this transaction alone, so that a pooler may give the connection to another client afterwards.
select
    -- The command line connects as the owner; what it makes must belong to the role of the functions.
    set_config('role', 'millrace_transform', true),
    -- As that role logs in with: a statement that waits for a lock on a table keeps everybody after it waiting too.
    set_config('lock_timeout', '20s', true),
    -- A model finds models before anything else of the same name.
    set_config('search_path', 'facts, staging, pg_temp', true),
    -- A date without a time zone, and one whose day and month could be either, must not depend on who asks.
    set_config('timezone', 'UTC', true),
    set_config('datestyle', 'ISO, MDY', true),
    set_config('intervalstyle', 'postgres', true),
    -- Every event is another one: there is nothing to remember between two runs of a query.
    set_config('enable_memoize', 'off', true),
    -- Compiling a statement takes longer than a claim.
    set_config('jit', 'off', true)
