-- In the order of their names, to avoid deadlocks.
select pg_advisory_xact_lock_shared(hashtextextended('millrace.model.' || model, 0))
from (select model from unnest($1::text[]) as model order by model) as models
