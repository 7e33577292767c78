select first_record, next_record, byte_end, next_line, staged_count, rejected_count, repaired_count
from staging.batches
where load_id = $1
order by first_record
