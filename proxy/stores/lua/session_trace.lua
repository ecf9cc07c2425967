-- Remember what a user's request left, unless the user was erased after the request began; atomic.
-- KEYS[1]   requests: sorted set, JSON by when what it names is gone by itself (unix ms)
-- KEYS[2]   erased: string, when the user was erased (unix ms)
-- ARGV[1]   when the request began, by Redis' clock (unix ms)
-- ARGV[2,3] when what it left is gone by itself (unix ms), what it left (JSON)
-- Reply     1 | -1 erased
if tonumber(ARGV[1]) <= tonumber(redis.call('GET', KEYS[2]) or -1) then
  return -1
end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', time[1] * 1000)
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
if last[2] then
  redis.call('PEXPIREAT', KEYS[1], last[2])
end
return 1
