{{ config(materialized='table', indexes=[{'columns': ['order_id'], 'unique': true}]) }}

-- One row per order, from its newest event, in whatever order the batches committed.
select distinct on (order_id) order_id, status, total, received_at as updated_at
from {{ ref('fct_order_events') }}
where order_id is not null
order by order_id, received_at desc, event_id desc
