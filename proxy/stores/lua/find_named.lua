-- Read the first entry of a named cache that one of some exact keys leads to.
-- KEYS   exact keys of one room, most wanted first: strings
-- ARGV   names of the entry's fields, in the order wanted
-- Reply  {position of the key from 0, fields} | nil
for position, pointer in ipairs(KEYS) do
  local entry = redis.call('GET', pointer)
  if entry then
    local fields = redis.call('HMGET', entry, unpack(ARGV))
    if fields[1] then -- else the pointer outlived its entry
      return {position - 1, fields}
    end
  end
end
return false
