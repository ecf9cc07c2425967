-- Remove a cache entry with the exact key that points at it, and let no conversation lead through it; atomic.
-- KEYS[1]  condemned key: set of entry ids
-- KEYS[2]  entry key: hash
-- KEYS[3]  exact key: string, key of an entry; it may lead to a newer one by now
-- ARGV[1]  entry id
-- ARGV[2]  seconds the mark is remembered: contexts live no longer
-- Reply    1 if the entry was still there
local removed = redis.call('HGET', KEYS[2], 'entry_id') == ARGV[1] and redis.call('UNLINK', KEYS[2]) or 0
if redis.call('GET', KEYS[3]) == KEYS[2] then
  redis.call('UNLINK', KEYS[3])
end
redis.call('SADD', KEYS[1], ARGV[1])
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return removed
