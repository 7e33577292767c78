select distinct source, event_type
from staging.batches
where superseded_at is not null and retracted_at is null and processed_at is not null
order by source, event_type
