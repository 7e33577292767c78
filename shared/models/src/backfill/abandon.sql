delete from pipeline.backfills where model = $1 and finished_at is null
