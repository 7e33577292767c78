-- A batch without a span holds a redriven record and is not part of the file.
select first_record, next_record, byte_end, next_line, staged_count, rejected_count, repaired_count
from staging.batches
where load_id = $1 and first_record is not null
order by first_record
