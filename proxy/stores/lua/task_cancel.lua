-- Cancel a task that has not ended; its worker learns it when it next uses its lease. Needs task_prelude.
-- ARGV[2]  task
-- Reply    {ok | repeated, durability, fields of the record} | {why not}
local id = ARGV[2]
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'queue_not_found'}
end
local state = get(id, 'state')
if not state then
  return {'task_not_found'}
end
if state == 'canceled' then
  return done('repeated', id)
end
if not is_open(state) then
  return {'task_ended'}
end
finish(id, state, 'canceled', 'canceled', 'cancel', {})
return done('ok', id)
