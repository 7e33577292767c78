select staging.begin_attempt(
    jsonb_populate_record(
        null::staging.loads,
        jsonb_build_object(
            'load_id', $1::uuid,
            'origin', $2::text,
            'object', $3::text,
            'source', $4::text,
            'event_type', $5::text,
            'sequencer', $6::text,
            'modified_at', $7::timestamptz,
            'on_new_version', $8::text,
            'plan', $9::jsonb,
            'attempt', $10::integer,
            'started_at', now()
        )
    )
)
