-- {reason}
#variable_conflict use_column
begin
    if tg_op = 'TRUNCATE' then
        insert into pipeline.invalidations (model) values ({model});
    elsif tg_op = 'DELETE' then
        insert into pipeline.invalidations (model) select {model} where exists (select from old_rows);
    else
        insert into pipeline.invalidations (model) select {model} where exists (select from new_rows);
    end if;
    return null;
end
