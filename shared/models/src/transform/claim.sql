select batch_id, received_at, staged_count, superseded_at is not null as superseded
from staging.claim_batches($1, $2, $3, $4, $5)
