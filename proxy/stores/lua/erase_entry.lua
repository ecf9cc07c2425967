-- Remove a cache entry with the exact key that points at it, and let no conversation lead through it; atomic.
-- KEYS[1]  condemned key: set of entry ids
-- KEYS[2]  exact key: string, key of an entry; it may lead to a newer one by now
-- KEYS[3…] where the entry may lie: hashes
-- ARGV[1]  entry id
-- ARGV[2]  seconds the mark is remembered: contexts live no longer
-- Reply    1 if the entry was still there
local removed = 0
for at = 3, #KEYS do
  if redis.call('HGET', KEYS[at], 'entry_id') == ARGV[1] then
    removed = redis.call('UNLINK', KEYS[at])
  end
  if redis.call('GET', KEYS[2]) == KEYS[at] then
    redis.call('UNLINK', KEYS[2])
  end
end
redis.call('SADD', KEYS[1], ARGV[1])
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return removed
