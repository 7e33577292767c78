select model, kind, fingerprint, definition_hash, query from pipeline.models
