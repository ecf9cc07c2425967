-- Put a session's working memory in place of what is there, and into its lists; atomic. Begins with working_memory_sweep.
-- KEYS[1]  memory: hash        KEYS[2]  due: sorted set        KEYS[3…] its lists: sorted sets
-- ARGV[1]  tag                 ARGV[2]  tag and tags of the lists, as in `due`
-- ARGV[3]  what the keys of lists begin with
-- ARGV[4]  milliseconds it stays, 0 for ever
-- ARGV[5]  when it was created (unix s), empty for: when it first was put
-- ARGV[6…] fields and values
-- Reply    {version, created at (s), updated at (s)}
local known = redis.call('HMGET', KEYS[1], 'created_at', 'version')
local now_s = string.format('%d.%06d', time[1], time[2])
local created = ARGV[5] ~= '' and ARGV[5] or known[1] or now_s
local version = string.format('%d', (known[2] or 0) + 1)
redis.call('HSET', KEYS[1], 'created_at', created, 'updated_at', now_s, 'version', version, unpack(ARGV, 6))
for index = 3, #KEYS do
  redis.call('ZADD', KEYS[index], now_ms, ARGV[1])
end
local ttl_ms = tonumber(ARGV[4])
if ttl_ms > 0 then
  redis.call('PEXPIREAT', KEYS[1], now_ms + ttl_ms)
  redis.call('ZADD', KEYS[2], now_ms + ttl_ms, ARGV[2])
else
  redis.call('PERSIST', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[2])
end
sweep(KEYS[2], ARGV[3])
return {version, created, now_s}
