-- How a queue stands. Reads only. Needs task_prelude.
-- Reply    {queue_not_found} | {ok, its fields, state, count, …, delayed, how many wait, dead, how many, oldest, ms the oldest ready task waits or ''}
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'queue_not_found'}
end
local counts = {}
for _, state in ipairs(STATES) do
  counts[#counts + 1] = state
  counts[#counts + 1] = redis.call('ZCARD', base .. 'state:' .. state)
end
counts[#counts + 1] = 'delayed'
counts[#counts + 1] = redis.call('ZCARD', base .. 'delayed')
counts[#counts + 1] = 'dead'
counts[#counts + 1] = redis.call('XLEN', base .. 'dead')
local oldest
local function older(entry)
  if entry then
    local ms = tonumber(string.match(entry, '^%d+'))
    oldest = oldest and math.min(oldest, ms) or ms
  end
end
for priority = 0, 9 do
  local key = lane(priority)
  if redis.call('EXISTS', key) == 1 then
    local back = redis.call('XPENDING', key, GROUP, '-', '+', 1, RETURNED)[1]
    older(back and back[1])
    -- name, consumers, pending, last-delivered-id: a flat list of names and values
    local last = redis.call('XINFO', 'GROUPS', key)[1][8]
    local next_one = redis.call('XRANGE', key, '(' .. last, '+', 'COUNT', 1)[1]
    older(next_one and next_one[1])
  end
end
return {'ok', redis.call('HGETALL', KEYS[1]), counts, oldest and now - oldest or ''}
