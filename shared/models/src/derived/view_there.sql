-- What is there by the name $1, and the fingerprint of what made it.
select c.relkind::text as kind, m.fingerprint
from pg_class c
left join pipeline.models m on m.model = c.relname
where c.relnamespace = 'facts'::regnamespace and c.relname = $1
