-- Write or remove what is decided for a namespace, and tell every process that something changed; atomic.
-- KEYS[1]  policies: hash
-- KEYS[2]  version: string, a number
-- ARGV[1]  field: tenant and namespace
-- ARGV[2]  the policy as JSON; empty removes it
-- ARGV[3]  policies there may be at most
-- Reply    1 done | 0 there was none to remove | -1 one too many
if ARGV[2] == '' then
  if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then
    return 0
  end
else
  if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then
    return -1
  end
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
redis.call('INCR', KEYS[2])
return 1
