-- Read the stored vectors of a batch, in one round trip.
-- KEYS   vectors of one room: hashes
-- ARGV   names of the fields, in the order wanted
-- Reply  for each key its fields | nil
local found = {}
for index, key in ipairs(KEYS) do
  local fields = redis.call('HMGET', key, unpack(ARGV))
  found[index] = fields[1] and fields or false
end
return found
