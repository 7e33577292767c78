select to_regclass('pipeline.migrations') is not null
