-- Put an entry of a stream of decisions back without something; atomic, and nothing where the entry has gone meanwhile.
-- KEYS[1]  judged or other: stream        KEYS[2]  ids: hash
-- ARGV[1]  id of the entry
-- ARGV[2]  1 for judged, 2 for other
-- ARGV[3]  how many of the following are fields and values of the new entry, 0 for none
-- ARGV[4…] those; then the request ids that are in it
-- Reply    1 if it was still there
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then
  return 0
end
local last = 3 + tonumber(ARGV[3])
if last > 3 then
  local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 4, last))
  for at = last + 1, #ARGV do
    redis.call('HSET', KEYS[2], ARGV[at], ARGV[2] .. ' ' .. id)
  end
end
return 1
