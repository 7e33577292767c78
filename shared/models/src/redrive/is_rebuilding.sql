select from pipeline.backfills where model = $1 and target = 'rebuild' and finished_at is null
