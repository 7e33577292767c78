select to_char(day at time zone 'UTC', 'YYYY-MM-DD'), origin, hours, celsius, precipitation_inches
from facts.weather_daily
order by day, origin
limit 3
