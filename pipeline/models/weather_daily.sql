-- kind = "rollup"
-- description = "Weather by airport and day; only days whose facts changed are recomputed."
-- key = ["day", "origin"]
-- bucket = "day"
select
    date_trunc('day', observed_at) as day,
    origin,
    count(*) as hours,
    round(avg(celsius), 1) as celsius,
    sum(precipitation_inches) as precipitation_inches
from weather
group by 1, 2
