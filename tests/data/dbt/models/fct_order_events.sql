{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='event_id',
    indexes=[{'columns': ['event_id'], 'unique': true}, {'columns': ['batch_id']}],
    post_hook="
        -- A newer version of a file supersedes batches. Their events are no longer in raw_events, so delete their facts.
        delete from {{ this }} where batch_id in (
            select batch_id from {{ source('millrace', 'batches') }} where superseded_at is not null
        )"
) }}

with
-- Batches of the ledger that have no rows in this table. A watermark on received_at would miss a batch that commits late,
-- because it is older than events that are already in the table.
new_batches as (
    select batches.batch_id, batches.received_at
    from {{ source('millrace', 'batches') }} as batches
    where batches.source = 'shop' and batches.event_type = 'orders'
        and batches.superseded_at is null and batches.staged_count > 0
        {% if is_incremental() %}
        and not exists (select from {{ this }} as taken where taken.batch_id = batches.batch_id)
        {% endif %}
)

select events.*
from new_batches
-- `offset 0` prevents a join over whole days: each batch is looked up by its key, in the partition of its day.
cross join lateral (
    select event_id, batch_id, received_at, order_id, status, total
    from {{ ref('stg_shop__orders') }} as orders
    where orders.received_at = new_batches.received_at and orders.batch_id = new_batches.batch_id
    offset 0
) as events
