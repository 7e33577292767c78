-- kind = "fact"
-- description = "Airports, as in the newest file."
-- source = "demo/airports"
-- key = ["faa"]
-- tests = ["lat between -90 and 90", "not_null(name)"]
-- [columns]
-- faa = "The code of the airport in the United States."
-- elevation_m = "Metres above the sea."
select
    payload->>'faa' as faa,
    payload->>'name' as name,
    (payload->>'lat')::double precision as lat,
    (payload->>'lon')::double precision as lon,
    round((payload->>'alt')::numeric * 0.3048, 1) as elevation_m,
    payload->>'tzone' as time_zone
from batch
