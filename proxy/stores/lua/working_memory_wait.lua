-- Note that a session has memories to be promoted.
-- KEYS[1]  waiting: sorted set by when (unix us)
-- ARGV[1]  member
-- Reply    the score, which tells this note from a later one
local time = redis.call('TIME')
local score = string.format('%d%06d', time[1], time[2])
redis.call('ZADD', KEYS[1], score, ARGV[1])
return score
