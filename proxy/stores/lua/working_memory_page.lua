-- Read a page of a list of sessions, those that changed last first; what is gone is taken out. Begins with working_memory_sweep.
-- KEYS[1]  list: sorted set        KEYS[2]  due: sorted set
-- ARGV[1]  what the keys of memories begin with    ARGV[2]  what the keys of lists begin with
-- ARGV[3]  how many to leave out                   ARGV[4]  how many to read
-- Reply    {how many there are in all, session id, …}
sweep(KEYS[2], ARGV[2])
local place, count = tonumber(ARGV[3]), tonumber(ARGV[4])
local found, gone = {}, {}
while #found < count do
  local page = redis.call('ZREVRANGE', KEYS[1], place, place + count - 1)
  for _, tag in ipairs(page) do
    local id = redis.call('HGET', ARGV[1] .. tag, 'session_id')
    if not id then
      gone[#gone + 1] = tag
    elseif #found < count then
      found[#found + 1] = id
    end
  end
  if #page < count then
    break
  end
  place = place + count
end
for _, tag in ipairs(gone) do
  redis.call('ZREM', KEYS[1], tag)
end
return {redis.call('ZCARD', KEYS[1]), unpack(found)}
