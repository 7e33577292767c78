select
    source, event_type, file_count, under_way_count, failed_count, batch_count, read_count, staged_count, rejected_count,
    repaired_count, unprocessed_count, processed_count, transformed_count, quarantined_count, unmodelled_count,
    oldest_unprocessed_seconds, rows_per_second_minute, rows_per_second_hour, read_difference
from pipeline.batch_counts
order by source, event_type
