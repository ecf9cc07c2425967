-- Let a task wait for somebody's word. Its worker is free; the attempt does not count. Needs task_prelude.
-- ARGV[2]  task   ARGV[3]  lease   ARGV[4]  input-required | auth-required   ARGV[5]  what is asked for (JSON)
-- Reply    {ok | repeated, durability, fields of the record} | {why not}
local id, lease = ARGV[2], ARGV[3]
local why = refusal(id, lease, 'pause')
if why and why ~= 'repeated' then
  return {why}
end
if not why then
  withdraw(id)
  change(id, 'working', ARGV[4], 'paused', {'message', ARGV[5], 'entry', '', 'lease', '', 'lease_until', '',
    'attempt', get(id, 'attempt') - 1, 'last_lease', lease, 'closed_by', 'pause'})
end
return done(why or 'ok', id)
