-- Remove memories of one tenant with all that points to them; atomic.
-- KEYS[1]  texts: hash          KEYS[2]  ids: sorted set
-- KEYS[3…5] names of users, sessions, namespaces: hashes, name -> how many memories
-- KEYS[6…] memories: hashes
-- ARGV     the revision each memory must have to be removed, '' for any
-- Reply    how many were removed
local dropped = 0
for at = 6, #KEYS do
  local found = redis.call('HMGET', KEYS[at], 'id', 'text_digest', 'revision', 'user', 'session', 'namespace')
  local wanted = ARGV[at - 5]
  if found[1] and (wanted == '' or wanted == found[3]) then
    redis.call('UNLINK', KEYS[at])
    redis.call('ZREM', KEYS[2], found[1])
    if redis.call('HGET', KEYS[1], found[2]) == found[1] then
      redis.call('HDEL', KEYS[1], found[2])
    end
    for place = 1, 3 do
      local name = found[3 + place]
      if name and name ~= '' and redis.call('HINCRBY', KEYS[2 + place], name, -1) <= 0 then
        redis.call('HDEL', KEYS[2 + place], name)
      end
    end
    dropped = dropped + 1
  end
end
return dropped
