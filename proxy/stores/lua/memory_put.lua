-- Write a memory with all that points to it, if nobody changed it meanwhile; and end the fact whose place it takes; atomic.
-- KEYS[1]  memory: hash
-- KEYS[2]  texts: hash, digest of text and scope -> id of the memory that says it
-- KEYS[3]  ids: sorted set
-- KEYS[4…6] names of users, sessions, namespaces: hashes, name -> how many memories
-- KEYS[7]  optional: the memory that is replaced: hash
-- ARGV[1]  its id
-- ARGV[2]  the revision it must have; 0 for one that must not be there
-- ARGV[3]  digest of its text and scope
-- ARGV[4]  1: write nothing where another memory says the same; 0: write, and say it from now on; 2: write, and do not say it
-- ARGV[5]  of the replaced one: unix seconds from which it does not hold any more
-- ARGV[6]  unix seconds now
-- ARGV[7]  1 if the vector of its text is among the fields
-- ARGV[8]  how many fields to remove follow, then they, then fields and values to write
-- Reply    {'ok', revision} | {'conflict', ''} | {'same', id of the memory that says it} | {'gone', ''}: no memory to replace
local id, expected, digest = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local before = redis.call('HMGET', KEYS[1], 'revision', 'text_digest', 'user', 'session', 'namespace', 'text')
local revision = tonumber(before[1] or 0)
if revision ~= expected then
  return {'conflict', ''}
end
local says = redis.call('HGET', KEYS[2], digest)
if ARGV[4] == '1' and says and says ~= id then
  return {'same', says}
end
local ended
if KEYS[7] then
  ended = redis.call('HGET', KEYS[7], 'text_digest')
  if not ended then
    return {'gone', ''}
  end
end

local removed = tonumber(ARGV[8])
if removed > 0 and revision > 0 then
  redis.call('HDEL', KEYS[1], unpack(ARGV, 9, 8 + removed))
end
local fields = {'revision', revision + 1}
for at = 9 + removed, #ARGV do
  fields[#fields + 1] = ARGV[at]
end
redis.call('HSET', KEYS[1], unpack(fields)) -- once: each write is indexed anew, vector and all

if before[2] and redis.call('HGET', KEYS[2], before[2]) == id then
  redis.call('HDEL', KEYS[2], before[2])
end
if ARGV[4] ~= '2' then
  redis.call('HSET', KEYS[2], digest, id)
end
redis.call('ZADD', KEYS[3], 0, id)
local after = redis.call('HMGET', KEYS[1], 'user', 'session', 'namespace', 'text')
if ARGV[7] == '0' and before[6] and before[6] ~= after[4] then -- a vector of what it said before would find it by that
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.find(field, '^vector_') or field == 'embedder' or field == 'tag_embedder' then
      redis.call('HDEL', KEYS[1], field)
    end
  end
end
for place = 1, 3 do
  local old, new = before[place + 2] or '', after[place] or ''
  if old ~= new then
    if old ~= '' and redis.call('HINCRBY', KEYS[3 + place], old, -1) <= 0 then
      redis.call('HDEL', KEYS[3 + place], old)
    end
    if new ~= '' then
      redis.call('HINCRBY', KEYS[3 + place], new, 1)
    end
  end
end

if ended then
  local other = redis.call('HGET', KEYS[7], 'id')
  if redis.call('HGET', KEYS[2], ended) == other then -- told again, it is a new fact
    redis.call('HDEL', KEYS[2], ended)
  end
  redis.call('HSET', KEYS[7], 'invalid_at', ARGV[5], 'replaced_by', id, 'updated_at', ARGV[6], 'tag_holds', '0',
    'revision', (redis.call('HGET', KEYS[7], 'revision') or 0) + 1)
end
return {'ok', revision + 1}
