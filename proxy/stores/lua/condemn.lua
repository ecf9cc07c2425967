-- Remove an entry that was called wrong, let no conversation lead through it, and remember two texts as never equal; atomic.
-- KEYS[1]  condemned key: set of entry ids
-- KEYS[2…3] unequal keys of the two texts: sets; absent where there is no pair (an exact hit)
-- KEYS[…]  where the entry may lie: hashes, or exact keys that point at one
-- ARGV[1]  entry id
-- ARGV[2]  seconds all this is remembered, at least
-- ARGV[3…4] digests of the two texts, in the order of their keys; absent where there is no pair
-- Reply    redis key of the removed entry | nil when it was gone
local keep_s = tonumber(ARGV[2])
local has_pair = #ARGV == 4
local removed = false
for at = has_pair and 4 or 2, #KEYS do
  local entry_key = KEYS[at]
  if redis.call('TYPE', entry_key)['ok'] == 'string' then
    entry_key = redis.call('GET', entry_key)
  end
  if redis.call('HGET', entry_key, 'entry_id') == ARGV[1] then
    -- Contexts live as long as answers do: a mark must not be gone before them.
    keep_s = math.max(keep_s, 2 * tonumber(redis.call('HGET', entry_key, 'ttl_s')))
    redis.call('UNLINK', entry_key)
    removed = entry_key
  end
end
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], keep_s)
if has_pair then
  redis.call('SADD', KEYS[2], ARGV[4])
  redis.call('SADD', KEYS[3], ARGV[3])
  redis.call('EXPIRE', KEYS[2], keep_s)
  redis.call('EXPIRE', KEYS[3], keep_s)
end
return removed
