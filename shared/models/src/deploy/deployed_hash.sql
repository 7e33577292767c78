select definition_hash from pipeline.models where model = $1
