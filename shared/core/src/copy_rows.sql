copy staging.events (received_at, batch_id, source, event_type, payload) from stdin with (format binary)
