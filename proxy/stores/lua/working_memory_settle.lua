-- Take a note out, unless there has been a later one.
-- KEYS[1]  waiting: sorted set
-- ARGV[1]  member      ARGV[2]  score it had
-- Reply    1 if it was taken out
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) ~= tonumber(ARGV[2]) then
  return 0
end
return redis.call('ZREM', KEYS[1], ARGV[1])
