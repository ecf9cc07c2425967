-- Give a task back unharmed: the attempt does not count, and it keeps its place. Needs task_prelude.
-- ARGV[2]  task   ARGV[3]  lease
-- Reply    {ok | repeated, '', fields of the record} | {why not}
local id, lease = ARGV[2], ARGV[3]
local why = refusal(id, lease, 'release')
if why and why ~= 'repeated' then
  return {why}
end
if not why then
  give_back(id, 'released', get(id, 'attempt') - 1, {'last_lease', lease, 'closed_by', 'release'})
  ring(ready_now)
end
return {why or 'ok', '', redis.call('HGETALL', record(id))}
