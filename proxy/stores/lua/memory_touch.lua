-- Note that a memory was found, unless it is gone; atomic.
-- KEYS[1]  memory: hash
-- ARGV[1]  unix seconds when it was last found
-- ARGV[2]  how often since it was noted last
-- Reply    1 | 0 if it is gone
local found = redis.call('HMGET', KEYS[1], 'accessed_at', 'times_found')
if not found[1] then
  return 0
end
local at = ARGV[1]
if tonumber(found[1]) > tonumber(at) then
  at = found[1]
end
redis.call('HSET', KEYS[1], 'accessed_at', at, 'times_found', tonumber(found[2] or 0) + tonumber(ARGV[2]))
return 1
