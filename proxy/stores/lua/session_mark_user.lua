-- From now on nothing is written any more of requests of a user that began before now.
-- KEYS[1]   erased: string
-- ARGV[1]   seconds this is remembered: longer than a request, and its record in a queue, can be under way
-- Reply     now (unix ms)
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], now_ms, 'EX', ARGV[1])
return now_ms
