select name, hours, coldest, warmest, to_char(newest at time zone 'UTC', 'YYYY-MM-DD HH24:MI')
from facts.airport_weather
order by name
