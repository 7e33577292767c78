select
    current_setting('server_version_num')::integer / 10000 as major,
    split_part(current_setting('server_version'), ' ', 1) as version
