-- Read for each of several requests the exact tier, what the conversation stands for, and what was called wrong, in one round trip.
-- KEYS     four for each request, all of its room:
--          exact key: string, redis key of an entry of the same slot
--          context key: string; the same as the first when there is no prefix to look up
--          condemned key: set of entry ids
--          unequal key: set of text digests; the same as the first when the text is not matched by meaning
-- ARGV     names of the entry's fields, in the order wanted
-- Reply    for each request {fields of the entry | nil, context | nil, members of the unequal set}
local function looked_up(exact_key, context_key, condemned_key, unequal_key)
  local entry_key = redis.call('GET', exact_key)
  local context = false
  if context_key ~= exact_key then
    context = redis.call('GET', context_key)
    if context and redis.call('EXISTS', condemned_key) == 1 then
      -- "<entry id> <confidence> <entry id>,<entry id>,…": one condemned link, and the whole is as if it were not there.
      for id in string.gmatch(context, '[^ ,]+') do
        if redis.call('SISMEMBER', condemned_key, id) == 1 then
          context = false
          break
        end
      end
    end
  end
  local unequal = {}
  if unequal_key ~= exact_key then
    unequal = redis.call('SMEMBERS', unequal_key)
  end
  local fields = false
  if entry_key then
    fields = redis.call('HMGET', entry_key, unpack(ARGV))
    if not fields[1] then
      fields = false -- the pointer outlived its entry
    end
  end
  return {fields, context, unequal}
end

local found = {}
for at = 1, #KEYS, 4 do
  found[#found + 1] = looked_up(KEYS[at], KEYS[at + 1], KEYS[at + 2], KEYS[at + 3])
end
return found
