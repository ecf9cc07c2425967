-- Store an entry of a named cache and point all its exact keys at it; atomic.
-- KEYS[1]  entry key: hash, must not exist
-- KEYS[2]  exact key of its text and all its attributes: string; the entry it led to before is replaced
-- KEYS[3…] its other exact keys: strings
-- ARGV[1]  milliseconds the entry stays
-- ARGV[2]  what exact keys begin with; the entry's field `pointers` holds the rest of each
-- ARGV[3…] fields and values of the entry
-- Reply    redis key of the entry this one replaces | nil
local ttl_ms = tonumber(ARGV[1])
local replaced = redis.call('GET', KEYS[2])
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ttl_ms)
for index = 2, #KEYS do
  redis.call('SET', KEYS[index], KEYS[1], 'PX', ttl_ms)
end
if not replaced or replaced == KEYS[1] then
  return false
end
-- Two answers to one question: the newer one counts, and the older one must not go on answering by meaning.
local pointers = redis.call('HGET', replaced, 'pointers')
for fingerprint in string.gmatch(pointers or '', '%S+') do
  local pointer = ARGV[2] .. fingerprint
  if redis.call('GET', pointer) == replaced then
    redis.call('UNLINK', pointer)
  end
end
redis.call('UNLINK', replaced)
return replaced
