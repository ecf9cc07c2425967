-- Take requests out of a token bucket, as many of those wanted as there are.
-- KEYS[1]  bucket: hash, level and at (unix seconds, with a fraction)
-- ARGV[1]  how many a minute; as many may come at once
-- ARGV[2]  how many are wanted
-- Reply    {how many were taken, what is left, as text, milliseconds until there is one more}
local limit, wanted = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local was = redis.call('HMGET', KEYS[1], 'level', 'at')
local level = tonumber(was[1] or limit)
local passed = math.max(0, now - tonumber(was[2] or now)) -- a clock that was set back must not take anything away
level = math.min(limit, level + passed * limit / 60)
local taken = math.min(wanted, math.floor(level))
level = level - taken
redis.call('HSET', KEYS[1], 'level', string.format('%.6f', level), 'at', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], 120) -- full again by then
local wait_ms = level >= 1 and 0 or math.ceil((1 - level) * 60000 / limit)
return {taken, string.format('%.3f', level), wait_ms}
