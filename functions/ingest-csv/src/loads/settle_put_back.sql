select staging.settle_put_back($1)
