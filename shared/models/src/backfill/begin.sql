insert into pipeline.backfills (backfill_id, model, fingerprint, target) values ($1, $2, $3, $4)
