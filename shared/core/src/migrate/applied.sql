select version, name, checksum from pipeline.migrations order by version
