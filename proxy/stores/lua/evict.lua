-- Remove a cache entry with what leads to it and the context it opened; atomic.
-- KEYS[1]  entry key: hash. Its fields name the rest, in the same slot: `fingerprint` and `pointers` exact keys, `opens` a context
-- ARGV[1]  what exact keys of its room begin with
-- ARGV[2]  what contexts of its room begin with
-- Reply    1 if it was there
local id, fingerprint, pointers, opens = unpack(redis.call('HMGET', KEYS[1], 'entry_id', 'fingerprint', 'pointers', 'opens'))
for name in string.gmatch((fingerprint or '') .. ' ' .. (pointers or ''), '%S+') do
  if redis.call('GET', ARGV[1] .. name) == KEYS[1] then -- it may lead to a newer entry by now
    redis.call('UNLINK', ARGV[1] .. name)
  end
end
if opens then
  local context = redis.call('GET', ARGV[2] .. opens)
  if context and string.match(context, '^%S+') == id then -- "<entry id> <confidence> …": its own, not one that was there before
    redis.call('UNLINK', ARGV[2] .. opens)
  end
end
return redis.call('UNLINK', KEYS[1])
