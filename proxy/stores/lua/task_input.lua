-- Give a paused task what it waits for: it becomes ready. Needs task_prelude.
-- ARGV[2]  task   ARGV[3]  what is given (JSON)
-- Reply    {ok, durability, fields of the record} | {why not}
local id = ARGV[2]
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'queue_not_found'}
end
local state = get(id, 'state')
if not state then
  return {'task_not_found'}
end
if state ~= 'input-required' and state ~= 'auth-required' then
  return {'not_paused'}
end
schedule(id, state, 'input', now, {'input', ARGV[3]})
ring(ready_now)
return done('ok', id)
