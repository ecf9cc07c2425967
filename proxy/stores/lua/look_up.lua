-- Read the exact tier, what the conversation stands for, and what was called wrong, in one round trip.
-- KEYS[1]  exact key: string, redis key of an entry of the same slot
-- KEYS[2]  context key: string; the same as KEYS[1] when there is no prefix to look up
-- KEYS[3]  condemned key: set of entry ids
-- KEYS[4]  unequal key: set of text digests; the same as KEYS[1] when the text is not matched by meaning
-- ARGV     names of the entry's fields, in the order wanted
-- Reply    {fields of the entry | nil, context | nil, members of the unequal set}
local entry_key = redis.call('GET', KEYS[1])
local context = false
if KEYS[2] ~= KEYS[1] then
  context = redis.call('GET', KEYS[2])
  if context and redis.call('EXISTS', KEYS[3]) == 1 then
    -- "<entry id> <confidence> <entry id>,<entry id>,…": one condemned link, and the whole is as if it were not there.
    for id in string.gmatch(context, '[^ ,]+') do
      if redis.call('SISMEMBER', KEYS[3], id) == 1 then
        context = false
        break
      end
    end
  end
end
local unequal = {}
if KEYS[4] ~= KEYS[1] then
  unequal = redis.call('SMEMBERS', KEYS[4])
end
local fields = false
if entry_key then
  fields = redis.call('HMGET', entry_key, unpack(ARGV))
  if not fields[1] then
    fields = false -- the pointer outlived its entry
  end
end
return {fields, context, unequal}
