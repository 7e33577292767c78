-- {reason}
#variable_conflict use_column
begin
    if tg_op = 'TRUNCATE' then
        insert into pipeline.invalidations (model) values ({model});
    elsif tg_argv[0] = 'everything' then
        if tg_op = 'DELETE' then
            insert into pipeline.invalidations (model) select {model} where exists (select from old_rows);
        else
            insert into pipeline.invalidations (model) select {model} where exists (select from new_rows);
        end if;
    -- The JSON value null is the bucket whose value is null. An SQL null would be every bucket.
    elsif tg_op = 'INSERT' then
        insert into pipeline.invalidations (model, bucket)
        select distinct {model}, coalesce(to_jsonb({expression}), 'null') from new_rows;
    elsif tg_op = 'DELETE' then
        insert into pipeline.invalidations (model, bucket)
        select distinct {model}, coalesce(to_jsonb({expression}), 'null') from old_rows;
    else
        insert into pipeline.invalidations (model, bucket)
        select {model}, coalesce(to_jsonb({expression}), 'null') from old_rows
        union
        select {model}, coalesce(to_jsonb({expression}), 'null') from new_rows;
    end if;
    return null;
end
