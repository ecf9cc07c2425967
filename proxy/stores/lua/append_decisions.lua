-- Append a batch of one tenant's decisions, forget what is too old or too much, and with it all that points there; atomic.
-- KEYS[1]  judged: stream of decisions          KEYS[2]  other: stream of packs of decisions
-- KEYS[3]  ids: hash                            KEYS[4]  votes: hash             KEYS[5]  rooms: sorted set
-- KEYS[6]  erased: sorted set of request ids that are not written any more
-- ARGV[1]  decisions kept per stream
-- ARGV[2]  seconds a decision is kept
-- ARGV[3]  rooms kept
-- ARGV[4…6] how many rooms, judged and other decisions follow:
--          a room is score, member; a judged decision is request id, at, namespace, JSON;
--          the others are their JSON array (if there are any), then each one's request id
-- Reply    how many decisions there are now
local max, ttl_s = tonumber(ARGV[1]), tonumber(ARGV[2])
local rooms, judged, others = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local at = 7
for _ = 1, rooms do
  redis.call('ZADD', KEYS[5], ARGV[at], ARGV[at + 1])
  at = at + 2
end
for _ = 1, judged do
  local request_id = ARGV[at]
  -- A batch tried again would be there twice; and what was erased in the meantime must not come back.
  if redis.call('HEXISTS', KEYS[3], request_id) == 0 and not redis.call('ZSCORE', KEYS[6], request_id) then
    local id = redis.call('XADD', KEYS[1], '*', 'request_id', request_id, 'at', ARGV[at + 1], 'namespace', ARGV[at + 2],
      'decision', ARGV[at + 3])
    redis.call('HSET', KEYS[3], request_id, '1 ' .. id)
  end
  at = at + 4
end
if others > 0 then
  local ids = {}
  local id = redis.call('XADD', KEYS[2], '*', 'request_ids', table.concat(ARGV, ' ', at + 1), 'decisions', ARGV[at])
  for i = at + 1, #ARGV do
    ids[#ids + 1] = ARGV[i]
    ids[#ids + 1] = '2 ' .. id
  end
  redis.call('HSET', KEYS[3], unpack(ids))
end

local function forget(key, old)
  for _, entry in ipairs(old) do
    local ids = {}
    for id in string.gmatch(entry[2][2], '%S+') do
      ids[#ids + 1] = id
    end
    redis.call('HDEL', KEYS[3], unpack(ids))
    redis.call('HDEL', KEYS[4], unpack(ids))
    redis.call('XDEL', key, entry[1])
  end
end

local excess = redis.call('XLEN', KEYS[1]) - max
if excess > 0 then
  forget(KEYS[1], redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', excess))
end
while redis.call('HLEN', KEYS[3]) - redis.call('XLEN', KEYS[1]) > max do
  local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)
  if #oldest == 0 then
    break
  end
  forget(KEYS[2], oldest)
end
-- A few more than were appended: what is old goes as fast as new comes, and no batch pays for a whole backlog.
local too_old = (redis.call('TIME')[1] - ttl_s) * 1000
forget(KEYS[1], redis.call('XRANGE', KEYS[1], '-', too_old, 'COUNT', judged + 20))
forget(KEYS[2], redis.call('XRANGE', KEYS[2], '-', too_old, 'COUNT', 2))
redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -1 - tonumber(ARGV[3]))
for at = 1, 5 do
  redis.call('EXPIRE', KEYS[at], ttl_s)
end
return redis.call('HLEN', KEYS[3])
