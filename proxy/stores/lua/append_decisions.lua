-- Append a batch of one tenant's decisions, forget what is too old or too much, and with it all that points there; atomic.
-- KEYS[1]  judged: stream        KEYS[2]  other: stream
-- KEYS[3]  ids: hash             KEYS[4]  votes: hash             KEYS[5]  rooms: sorted set
-- ARGV[1]  decisions kept per stream
-- ARGV[2]  seconds a decision is kept
-- ARGV[3]  rooms kept
-- ARGV[4]  how many rooms follow: pairs of score and member; then the decisions, five each:
--          number of the stream's key (1 or 2), request id, at, namespace, decision (JSON)
-- Reply    how many were appended; those already there are passed over
local max, ttl_s, rooms = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4])
local appended = 0
local at = 5
for _ = 1, rooms do
  redis.call('ZADD', KEYS[5], ARGV[at], ARGV[at + 1])
  at = at + 2
end
for first = at, #ARGV, 5 do
  local stream, request_id = tonumber(ARGV[first]), ARGV[first + 1]
  if redis.call('HEXISTS', KEYS[3], request_id) == 0 then
    local id = redis.call('XADD', KEYS[stream], '*', 'request_id', request_id, 'at', ARGV[first + 2], 'namespace', ARGV[first + 3],
      'decision', ARGV[first + 4])
    redis.call('HSET', KEYS[3], request_id, stream .. ' ' .. id)
    appended = appended + 1
  end
end

local function forget(key, old)
  for _, entry in ipairs(old) do
    redis.call('HDEL', KEYS[3], entry[2][2])
    redis.call('HDEL', KEYS[4], entry[2][2])
    redis.call('XDEL', key, entry[1])
  end
  return #old
end

local oldest = (redis.call('TIME')[1] - ttl_s) * 1000
for number = 1, 2 do
  local key = KEYS[number]
  local excess = redis.call('XLEN', key) - max
  if excess > 0 then
    forget(key, redis.call('XRANGE', key, '-', '+', 'COUNT', excess))
  end
  -- No more than were appended and a few: what is old goes as fast as new comes, and no batch pays for a whole backlog.
  forget(key, redis.call('XRANGE', key, '-', oldest, 'COUNT', appended + 20))
end
redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -1 - tonumber(ARGV[3]))
for _, key in ipairs(KEYS) do
  redis.call('EXPIRE', key, ttl_s)
end
return appended
