select model, definition_hash from pipeline.models
