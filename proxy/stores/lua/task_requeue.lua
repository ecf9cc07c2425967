-- Take tasks out of the dead letter and make them ready with all their attempts. A deadline that has passed is dropped. Needs task_prelude.
-- ARGV[2]  task; empty: those that have been in the dead letter longest
-- ARGV[3]  how many of them
-- Reply    {ok, durability, fields of the record} for one, {ok, durability, how many, how many are left} for many | {why not}
local function revive(id)
  local state, dead, deadline = get(id, 'state', 'dead', 'deadline_at')
  redis.call('XDEL', base .. 'dead', dead)
  local by = tonumber(deadline)
  if by and by * 1000 > now then
    redis.call('ZADD', base .. 'deadlines', by * 1000, id)
  else
    redis.call('HSET', record(id), 'deadline_at', '')
  end
  schedule(id, state, 'requeued', now, {'attempt', 0, 'dead', '', 'ended_at', '', 'last_lease', '', 'closed_by', ''})
end

if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'queue_not_found'}
end
if ARGV[2] ~= '' then
  local state, dead = get(ARGV[2], 'state', 'dead')
  if not state then
    return {'task_not_found'}
  end
  if not dead or dead == '' then
    return {'not_dead'}
  end
  revive(ARGV[2])
  ring(ready_now)
  return done('ok', ARGV[2])
end
for _, entry in ipairs(redis.call('XRANGE', base .. 'dead', '-', '+', 'COUNT', ARGV[3])) do
  if get(entry[2][2], 'dead') == entry[1] then
    revive(entry[2][2])
  else
    redis.call('XDEL', base .. 'dead', entry[1])
  end
end
ring(ready_now)
return {'ok', durability(), ready_now, redis.call('XLEN', base .. 'dead')}
