-- Complete a task, once. Needs task_prelude.
-- ARGV[2]  task   ARGV[3]  lease   ARGV[4]  result (JSON)
-- Reply    {ok | repeated, durability, fields of the record} | {why not}
local id, lease = ARGV[2], ARGV[3]
local why = refusal(id, lease, 'complete')
if why and why ~= 'repeated' then
  return {why}
end
if not why then
  finish(id, 'working', 'completed', '', 'complete', {'result', ARGV[4], 'error', ''})
end
return done(why or 'ok', id)
