insert into pipeline.models (model, kind, fingerprint, definition_hash, query)
values ($1, $2, $3, $4, $5)
on conflict (model) do update
    set kind = excluded.kind,
        fingerprint = excluded.fingerprint,
        definition_hash = excluded.definition_hash,
        query = excluded.query,
        deployed_at = now()
