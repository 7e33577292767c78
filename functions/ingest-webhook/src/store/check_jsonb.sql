select 1 from unnest($1::jsonb[])
