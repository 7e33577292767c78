select source, event_type
from staging.batches
where processed_at is null
group by source, event_type
order by min(received_at)
