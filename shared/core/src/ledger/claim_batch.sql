-- A second worker with the same origin waits here for the first, and inserts nothing once the first has committed.
insert into staging.batches (
    batch_id, origin, load_id, source, event_type, received_at,
    read_count, staged_count, rejected_count, repaired_count, payload_bytes,
    first_record, next_record, byte_start, byte_end, first_line, next_line
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
on conflict (origin) do nothing
