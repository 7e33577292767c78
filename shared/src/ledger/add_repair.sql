insert into staging.repairs (batch_id, line, byte_offset, rule, raw)
values ($1, $2, $3, $4, $5)
