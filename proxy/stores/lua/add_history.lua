-- Add counts to slots of one tenant's history.
-- KEYS      slots: hashes of line -> count
-- ARGV      for each of them: seconds it stays, how many lines follow, then line and count of each
-- Reply     how many slots there were
local at = 1
for _, key in ipairs(KEYS) do
  local ttl_s, lines = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  for _ = 1, lines do
    redis.call('HINCRBY', key, ARGV[at], ARGV[at + 1])
    at = at + 2
  end
  redis.call('EXPIRE', key, ttl_s)
end
return #KEYS
