-- Read what has been waiting for a while, the oldest first.
-- KEYS[1]  waiting: sorted set by since when (unix us)
-- ARGV[1]  for how long (us) at least      ARGV[2]  how many to read
-- Reply    {member, score, …}
local time = redis.call('TIME')
local latest = string.format('%d', time[1] * 1000000 + time[2] - ARGV[1])
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', latest, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
