-- One statement for all repairs of a batch. With one INSERT per repair they took ten times as long as the COPY of the rows.
insert into staging.repairs (batch_id, line, byte_offset, rule, raw)
select $1, line, byte_offset, rule, raw
from unnest($2::bigint[], $3::bigint[], $4::text[], $5::bytea[]) as repair (line, byte_offset, rule, raw)
