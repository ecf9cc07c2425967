-- Add a request to a session's recording with those of its parts that are not there yet; atomic, and done once however often it is asked for.
-- KEYS[1]  steps: stream, an entry's id is its number, `3-0`
-- KEYS[2]  parts: hash, name -> JSON, and request id -> number of its step
-- KEYS[3]  recording: hash of bytes, steps, skipped
-- KEYS[4]  erased: hash, 'all' or a user's digest -> when that was erased (unix ms)
-- KEYS[5]  meta: hash of the session, which may say how long it is kept
-- ARGV[1]  bytes a recording may take
-- ARGV[2]  seconds it is kept unless the session says otherwise
-- ARGV[3]  request id
-- ARGV[4]  name of a part that must be there, since the others build on it | ""
-- ARGV[5]  when the request began, by Redis' clock (unix ms)
-- ARGV[6]  its user's digest | 'all'
-- ARGV[7]  how many of the following are the step's fields
-- ARGV[8…] field, value, …; then part, bytes, …
-- Reply    number of the step | 0, it was there | -1, that part is not there | -2, the recording is full | -3, it was erased
local FIRST = 8
for _, moment in ipairs(redis.call('HMGET', KEYS[4], 'all', ARGV[6])) do
  if moment and tonumber(ARGV[5]) <= tonumber(moment) then
    return -3
  end
end
if redis.call('HEXISTS', KEYS[2], ARGV[3]) == 1 then
  return 0
end
if ARGV[4] ~= '' and redis.call('HEXISTS', KEYS[2], ARGV[4]) == 0 then
  return -1
end
local last = FIRST - 1 + tonumber(ARGV[7])
local fields, bytes = {}, 0
for at = FIRST, last do
  fields[#fields + 1] = ARGV[at]
  bytes = bytes + #ARGV[at]
end
local missing = {}
for at = last + 1, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[2], ARGV[at]) == 0 then
    missing[#missing + 1] = at
    bytes = bytes + #ARGV[at] + #ARGV[at + 1]
  end
end
local function keep()
  local ttl_s = redis.call('HGET', KEYS[5], 'ttl_s') or ARGV[2]
  for at = 1, 3 do
    redis.call('EXPIRE', KEYS[at], ttl_s)
  end
end
local used = tonumber(redis.call('HGET', KEYS[3], 'bytes') or 0)
-- A recording has no holes: once one step did not fit, no later one is taken.
if used + bytes > tonumber(ARGV[1]) or redis.call('HEXISTS', KEYS[3], 'skipped') == 1 then
  redis.call('HINCRBY', KEYS[3], 'skipped', 1)
  keep()
  return -2
end
for _, at in ipairs(missing) do
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
end
-- Redis may have evicted one of the keys and not the others: a number is never given twice.
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local number = math.max(
  tonumber(redis.call('HGET', KEYS[3], 'steps') or 0), newest and tonumber(string.match(newest[1], '^%d+')) or 0) + 1
redis.call('HSET', KEYS[3], 'steps', number)
redis.call('HINCRBY', KEYS[3], 'bytes', bytes)
redis.call('HSET', KEYS[2], ARGV[3], number)
redis.call('XADD', KEYS[1], number .. '-0', unpack(fields))
keep()
return number
