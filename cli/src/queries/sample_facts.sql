select
    airports.name,
    count(*),
    min(celsius),
    max(celsius),
    to_char((array_agg(observed_at order by precipitation_inches desc nulls last))[1] at time zone 'UTC', 'YYYY-MM-DD HH24:MI')
from facts.weather
join facts.airports on airports.faa = weather.origin
group by airports.name
order by airports.name
