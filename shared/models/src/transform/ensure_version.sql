with
-- Most runs find their version and insert nothing.
known as (
    select version_id from pipeline.model_versions where fingerprint = $1
),
made as (
    insert into pipeline.model_versions (fingerprint, models)
    select $1, $2
    where not exists (select from known)
    on conflict (fingerprint) do nothing
    returning version_id
)
select version_id from known
union all
select version_id from made
