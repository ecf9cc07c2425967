-- Remove tasks that ended long ago, or are too many, with all that leads to them; oldest first. Needs task_prelude.
-- ARGV[2]  how many ended tasks are kept   ARGV[3]  how many are removed at most   ARGV[4]  ms after which a consumer that holds nothing is forgotten
-- Reply    {ok, how many were removed}
local keep, limit, removed = tonumber(ARGV[2]), tonumber(ARGV[3]), 0

local function remove(id, state)
  forget(id, state)
  removed = removed + 1
end

local retention_s = tonumber(redis.call('HGET', KEYS[1], 'retention_s'))
if not retention_s then
  return {'ok', 0}
end
local ended = {}
for i = 5, 8 do
  ended[#ended + 1] = {STATES[i], redis.call('ZCARD', base .. 'state:' .. STATES[i])}
end
for _, each in ipairs(ended) do
  local old = redis.call('ZRANGEBYSCORE', base .. 'state:' .. each[1], '-inf', now - retention_s * 1000, 'LIMIT', 0, limit - removed)
  for _, id in ipairs(old) do
    remove(id, each[1])
    each[2] = each[2] - 1
  end
end
-- Too many: the oldest of the state that has most, until there are not.
while removed < limit do
  local total, most = 0, ended[1]
  for _, each in ipairs(ended) do
    total = total + each[2]
    if each[2] > most[2] then
      most = each
    end
  end
  if total <= keep then
    break
  end
  remove(redis.call('ZRANGE', base .. 'state:' .. most[1], 0, 0)[1], most[1])
  most[2] = most[2] - 1
end
for priority = 0, 9 do
  if redis.call('EXISTS', lane(priority)) == 1 then
    for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', lane(priority), GROUP)) do
      -- name, pending, idle, inactive: a flat list of names and values
      if consumer[4] == 0 and consumer[6] > tonumber(ARGV[4]) and consumer[2] ~= RETURNED then
        redis.call('XGROUP', 'DELCONSUMER', lane(priority), GROUP, consumer[2])
      end
    end
  end
end
return {'ok', removed}
