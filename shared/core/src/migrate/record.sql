insert into pipeline.migrations (version, name, checksum)
values ($1, $2, encode(sha256(convert_to($3, 'UTF8')), 'hex'))
