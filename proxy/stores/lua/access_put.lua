-- Write, replace or remove one record of access control and note it in the audit log; atomic.
-- KEYS[1]  records: hash, id -> JSON
-- KEYS[2]  hashes: hash, hash of a key -> id
-- KEYS[3]  version: string
-- KEYS[4]  audit log: stream
-- ARGV[1]  id
-- ARGV[2]  the record; '' removes it
-- ARGV[3]  the record it replaces, as it was read; '' where there must be none
-- ARGV[4]  the new version, like no other
-- ARGV[5]  records there may be
-- ARGV[6]  lines of the audit log that are kept, about
-- ARGV[7]  how many hashes lead to the record from now on; they follow
-- ARGV[…]  how many no longer do; they follow, then fields and values of the line in the log
-- Reply    1 done | 0 the record is not what it was read as | -1 there are too many
local id, record = ARGV[1], ARGV[2]
if (redis.call('HGET', KEYS[1], id) or '') ~= ARGV[3] then return 0 end
if ARGV[3] == '' and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then return -1 end
local at = 7
local function listed()
  local found, count = {}, tonumber(ARGV[at])
  for i = 1, count do found[i] = ARGV[at + i] end
  at = at + count + 1
  return found
end
local added, removed = listed(), listed()
for _, hash in ipairs(removed) do redis.call('HDEL', KEYS[2], hash) end
for _, hash in ipairs(added) do redis.call('HSET', KEYS[2], hash, id) end
if record == '' then redis.call('HDEL', KEYS[1], id) else redis.call('HSET', KEYS[1], id, record) end
redis.call('SET', KEYS[3], ARGV[4])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[6], '*', unpack(ARGV, at))
return 1
