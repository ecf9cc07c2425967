-- Remove entries of a named cache with every exact key that leads to them; atomic.
-- KEYS     entry keys of one room: hashes
-- ARGV[1]  what exact keys begin with; an entry's field `pointers` holds the rest of each
-- ARGV[2]  the TAG an entry must bear to be removed
-- Reply    how many were removed
local dropped = 0
for _, entry in ipairs(KEYS) do
  local found = redis.call('HMGET', entry, 'pointers', 'partition')
  if found[1] and found[2] and string.find(found[2], ARGV[2], 1, true) then
    for fingerprint in string.gmatch(found[1], '%S+') do
      local pointer = ARGV[1] .. fingerprint
      if redis.call('GET', pointer) == entry then -- it may lead to a newer entry by now
        redis.call('UNLINK', pointer)
      end
    end
    redis.call('UNLINK', entry)
    dropped = dropped + 1
  end
end
return dropped
