-- kind = "materialized_view"
-- description = "Airports with their weather; refreshed when airports or weather change."
-- key = ["faa"]
select
    airports.faa,
    airports.name,
    count(*) as hours,
    min(weather.celsius) as coldest,
    max(weather.celsius) as warmest,
    max(weather.observed_at) as newest
from airports
join weather on weather.origin = airports.faa
group by airports.faa, airports.name
