-- Store the vectors of a batch, each in place of the one that was there; atomic.
-- KEYS     vectors of one room: hashes
-- ARGV[1]  seconds they stay
-- ARGV[2]  how many fields and values each has of its own
-- ARGV[3]  how many they share
-- ARGV[4…] those they share, then each key's own: field, value, …
local own, shared = tonumber(ARGV[2]), tonumber(ARGV[3])
for index, key in ipairs(KEYS) do
  local first = 4 + shared + (index - 1) * own
  redis.call('HSET', key, unpack(ARGV, first, first + own - 1))
  redis.call('HSET', key, unpack(ARGV, 4, 3 + shared))
  redis.call('EXPIRE', key, ARGV[1])
end
