-- kind = "fact"
-- description = "Orders of the shop; a later webhook for an order replaces the earlier one."
-- source = "shopify/orders.create"
-- key = ["order_id"]
select
    (payload->>'id')::bigint as order_id,
    payload->>'email' as email,
    (payload->>'total_price')::numeric(12, 2) as total
from batch
