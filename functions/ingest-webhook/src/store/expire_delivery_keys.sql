select staging.expire_delivery_keys($1)
