-- Count as a follower of a call for a while longer, and see who holds its lease.
-- KEYS[1]  lease: string
-- KEYS[2]  followers: sorted set, by the millisecond until which they count
-- ARGV[1]  id of the follower
-- ARGV[2]  milliseconds it counts
-- Reply    what the lease says | nil
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2] * 2)
return redis.call('GET', KEYS[1])
