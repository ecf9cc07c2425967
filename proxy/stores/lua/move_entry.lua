-- Move an entry to the keys of another embedder, with its new vector and all that points at it; atomic. Its time to live stays.
-- KEYS[1]  entry key of the embedder before: hash
-- KEYS[2]  entry key of the embedder now: hash
-- ARGV[1]  entry id
-- ARGV[2]  what its exact keys begin with
-- ARGV[3]  vector of its question | '' where only an exact repeat may have it
-- Reply    1 if it moved | 2 if it had moved before | 0 if it is gone
if redis.call('HGET', KEYS[1], 'entry_id') ~= ARGV[1] then
  return redis.call('HGET', KEYS[2], 'entry_id') == ARGV[1] and 2 or 0
end
-- Before anything else: the new index must never see the old vector, not even for a moment.
redis.call('HDEL', KEYS[1], 'vector')
redis.call('RENAME', KEYS[1], KEYS[2])
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[2], 'vector', ARGV[3])
end
local prints = redis.call('HMGET', KEYS[2], 'pointers', 'fingerprint')
for fingerprint in string.gmatch(prints[1] or prints[2] or '', '%S+') do
  local pointer = ARGV[2] .. fingerprint
  if redis.call('GET', pointer) == KEYS[1] then -- it may lead to a newer entry by now
    redis.call('SET', pointer, KEYS[2], 'KEEPTTL')
  end
end
return 1
