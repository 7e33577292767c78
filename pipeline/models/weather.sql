-- kind = "fact"
-- description = "Hourly weather; a correction replaces the earlier measurement."
-- source = "demo/weather"
-- key = ["origin", "observed_at"]
-- tests = ["humidity between 0 and 100", {test = "relationships(origin, airports.faa)", severity = "warn"}]
select
    payload->>'origin' as origin,
    (payload->>'time_hour')::timestamptz as observed_at,
    -- The files contain NA for values that were not measured.
    round((nullif(payload->>'temp', 'NA')::numeric - 32) / 1.8, 1) as celsius,
    nullif(payload->>'humid', 'NA')::numeric(5, 2) as humidity,
    nullif(payload->>'precip', 'NA')::numeric as precipitation_inches
from batch
