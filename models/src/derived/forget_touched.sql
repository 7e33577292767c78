delete from pipeline.touched where model = $1
