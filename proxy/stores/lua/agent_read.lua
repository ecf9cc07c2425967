-- Read an agent's state and where its history stands, both of one moment.
-- KEYS[1]  state: hash         KEYS[2]  agents-alive: sorted set         KEYS[3]  history: stream
-- ARGV[1]  agent               ARGV[2]  1 to tell where the history stands
-- Reply    {id of the newest transition, 0-0 without one, alive until (ms) | nil, now (ms), field, value, …}
local time = redis.call('TIME')
local newest = ARGV[2] == '1' and redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
local alive_until = redis.call('ZSCORE', KEYS[2], ARGV[1])
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
return {newest and newest[1] or '0-0', alive_until, now_ms, unpack(redis.call('HGETALL', KEYS[1]))}
