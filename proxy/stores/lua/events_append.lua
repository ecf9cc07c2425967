-- Append events to one stream, all of them or none; atomic.
-- KEYS[1]  the stream
-- KEYS[2]  names of the tenant's streams: set
-- KEYS[3]  policy of the stream: hash
-- ARGV[1]  the stream's name
-- ARGV[2]  streams a tenant may have
-- ARGV[3]  events kept where the policy does not say      ARGV[4]  seconds an event is kept, the same
-- ARGV[5]  the events: JSON array of arrays of fields and values, all of them texts
-- Reply    {1 if there is something to trim, else 0; id; id; …} | error TOOMANYSTREAMS
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 0 and redis.call('SCARD', KEYS[2]) >= tonumber(ARGV[2]) then
  return redis.error_reply('TOOMANYSTREAMS this tenant has all the streams it may have')
end

local reply = { 0 }
for _, fields in ipairs(cjson.decode(ARGV[5])) do
  reply[#reply + 1] = redis.call('XADD', KEYS[1], '*', unpack(fields))
end
redis.call('SADD', KEYS[2], ARGV[1])

-- Trimming goes by whole nodes of 100 entries: to look for it before there is one would be in vain.
local policy = redis.call('HMGET', KEYS[3], 'max_events', 'max_age_s')
if redis.call('XLEN', KEYS[1]) > (policy[1] or ARGV[3]) + 100 then
  reply[1] = 1
else
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  local age_s = redis.call('TIME')[1] - string.match(first[1], '^%d+') / 1000
  reply[1] = age_s > tonumber(policy[2] or ARGV[4]) and 1 or 0
end
return reply
