with
-- Most runs find their release, and write nothing.
known as (
    select release_id from pipeline.releases where fingerprint = $1
),
made as (
    insert into pipeline.releases (fingerprint, models)
    select $1, $2
    where not exists (select from known)
    on conflict (fingerprint) do nothing
    returning release_id
)
select release_id from known
union all
select release_id from made
