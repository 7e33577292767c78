-- kind = "fact"
-- description = "Pushed commits, one row each, as in their first push."
-- source = "github/push"
-- key = ["commit_id"]
-- on_conflict = "ignore"
select
    commit->>'id' as commit_id,
    payload->'repository'->>'full_name' as repository,
    payload->'pusher'->>'name' as pushed_by,
    commit->>'message' as message
from batch
cross join lateral jsonb_array_elements(payload->'commits') as commit
