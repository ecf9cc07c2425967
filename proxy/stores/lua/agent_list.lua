-- Read a page of a tenant's agents, those that changed last first, all of one moment.
-- KEYS[1]  agents, or agents of one status: sorted set by when they last changed (unix ms)
-- KEYS[2]  agents-alive: sorted set              KEYS[3]  agents-feed: stream of all agents' transitions
-- ARGV[1]  what the keys of states begin with
-- ARGV[2]  latest change to begin with (ms), or +inf
-- ARGV[3]  how many to leave out                 ARGV[4]  how many to read
-- ARGV[5…] fields to read of each
-- Reply    {now (ms), id of the newest transition, 0-0 without one, then for each {agent, changed at (ms), alive until (ms) | nil, value | nil, …}}
local time = redis.call('TIME')
local newest = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
local reply = {time[1] * 1000 + math.floor(time[2] / 1000), newest and newest[1] or '0-0'}
local page = redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[2], '-inf', 'WITHSCORES', 'LIMIT', ARGV[3], ARGV[4])
for i = 1, #page, 2 do
  local values = redis.call('HMGET', ARGV[1] .. page[i], unpack(ARGV, 5))
  reply[#reply + 1] = {page[i], page[i + 1], redis.call('ZSCORE', KEYS[2], page[i]), unpack(values)}
end
return reply
