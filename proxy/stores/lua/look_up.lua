-- Read the exact tier and what the conversation stands for, in one round trip.
-- KEYS[1]  exact key: string, redis key of an entry of the same slot
-- KEYS[2]  context key: string; the same as KEYS[1] when there is no prefix to look up
-- ARGV     names of the entry's fields, in the order wanted
-- Reply    {fields of the entry | nil, context | nil}
local entry_key = redis.call('GET', KEYS[1])
local context = false
if KEYS[2] ~= KEYS[1] then
  context = redis.call('GET', KEYS[2])
end
local fields = false
if entry_key then
  fields = redis.call('HMGET', entry_key, unpack(ARGV))
  if not fields[1] then
    fields = false -- the pointer outlived its entry
  end
end
return {fields, context}
