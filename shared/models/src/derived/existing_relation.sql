-- The relation $1 of schema facts, and the fingerprint of the model that created it.
select c.relkind::text as kind, m.fingerprint
from pg_class c
left join pipeline.models m on m.model = c.relname
where c.relnamespace = 'facts'::regnamespace and c.relname = $1
