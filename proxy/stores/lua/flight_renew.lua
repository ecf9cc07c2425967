-- Renew the lease of a call under way, and count who follows it.
-- KEYS[1]  lease: string
-- KEYS[2]  followers: sorted set, by the millisecond until which they count
-- KEYS[3]  words: stream
-- ARGV[1]  id of the call
-- ARGV[2]  milliseconds the lease lives
-- ARGV[3]  milliseconds the words are kept
-- Reply    {1 if the lease is the caller's | 0, followers}
local holder = redis.call('GET', KEYS[1])
if not holder then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) -- it ran out, and nobody took it
elseif holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
redis.call('PEXPIRE', KEYS[3], ARGV[3]) -- a model may think for long between two words
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
return {(not holder or holder == ARGV[1]) and 1 or 0, redis.call('ZCARD', KEYS[2])}
