delete from pipeline.models where model = $1
