select staging.forget_deliveries($1)
