select origin
from unnest($1::text[]) as listed (origin)
where not exists (select from staging.loads where loads.origin = listed.origin)
