-- Reject a task: the worker will not do it, and nobody else shall try. Needs task_prelude.
-- ARGV[2]  task   ARGV[3]  lease   ARGV[4]  why (JSON)
-- Reply    {ok | repeated, durability, fields of the record} | {why not}
local id, lease = ARGV[2], ARGV[3]
local why = refusal(id, lease, 'reject')
if why and why ~= 'repeated' then
  return {why}
end
if not why then
  finish(id, 'working', 'rejected', 'rejected', 'reject', {'error', ARGV[4]})
end
return done(why or 'ok', id)
