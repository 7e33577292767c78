select model, kind, coalesce(obj_description(format('facts.%I', model)::regclass), '') as description
from pipeline.models
where kind <> 'view'
order by model
