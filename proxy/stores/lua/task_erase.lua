-- Remove those of some tasks that belong to a session, whatever state they are in, with all that leads to them. Needs task_prelude.
-- ARGV[2]  the session   ARGV[3…] tasks
-- Reply    {ok, how many were removed}
local removed = 0
for i = 3, #ARGV do
  local id = ARGV[i]
  local session, state = get(id, 'session', 'state')
  if state and session == ARGV[2] then
    withdraw(id)
    redis.call('ZREM', base .. 'deadlines', id)
    forget(id, state)
    removed = removed + 1
  end
end
return {'ok', removed}
