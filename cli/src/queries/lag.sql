select
    source, event_type, unprocessed_batch_count, unprocessed_row_count, oldest_batch_id, oldest_seconds,
    extract(epoch from now() - newest_received_at)::double precision as newest_received_seconds,
    extract(epoch from now() - newest_processed_at)::double precision as newest_processed_seconds,
    transform_seconds_p50, transform_seconds_p95
from pipeline.lag
order by source, event_type
