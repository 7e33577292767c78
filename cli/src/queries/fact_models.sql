select model, coalesce(obj_description(format('facts.%I', model)::regclass), '') as description
from pipeline.models
where kind in ('fact', 'rollup')
order by model
