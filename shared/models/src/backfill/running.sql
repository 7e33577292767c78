select backfill_id, fingerprint, target from pipeline.backfills where model = $1 and finished_at is null
