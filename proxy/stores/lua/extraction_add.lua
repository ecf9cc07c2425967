-- Add what was said to a group of messages that memories will be drawn from, each message once in a session; atomic.
-- KEYS[1]  group: hash            KEYS[2]  messages that were taken: sorted set by when (unix s)
-- ARGV[1]  whose it is (JSON)     ARGV[2]  seconds after it was last seen for which a message counts as taken
-- ARGV[3]  messages in a group, at most
-- ARGV[4…] digest of a message's id, and the message (JSON)
-- Reply    how many were new; -1 if the group is closed or full: take the next one
local now_s = tonumber(redis.call('TIME')[1])
if redis.call('HEXISTS', KEYS[1], 'closed') == 1 or redis.call('HLEN', KEYS[1]) > tonumber(ARGV[3]) then
  return -1
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now_s - ARGV[2])
local new = 0
for index = 4, #ARGV, 2 do
  if redis.call('ZADD', KEYS[2], now_s, ARGV[index]) == 1 then
    redis.call('HSET', KEYS[1], 'said:' .. ARGV[index], ARGV[index + 1])
    new = new + 1
  end
end
if new > 0 then
  redis.call('HSETNX', KEYS[1], 'about', ARGV[1])
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('EXPIRE', KEYS[2], ARGV[2])
end
return new
