-- List a session as just written to, before it is, so that none is there unlisted; atomic.
-- KEYS      see session_index_prelude.lua
-- ARGV[1,2] session, seconds it is kept unless it says otherwise
-- ARGV[3]   '' | seconds it is kept from now on | '0' for the default again
-- ARGV[4…]  facets: user:<user>, agent:<agent>
-- Reply     when it was listed (unix ms): the score it has now
prune(20)
local session = ARGV[1]
if ARGV[3] == '0' then
  redis.call('HDEL', named('ttl'), session)
elseif ARGV[3] ~= '' then
  redis.call('HSET', named('ttl'), session, ARGV[3])
end
local ttl_s = tonumber(redis.call('HGET', named('ttl'), session) or ARGV[2])
for at = 4, #ARGV do
  redis.call('SADD', named('facets:' .. session), ARGV[at])
  redis.call('ZADD', named(ARGV[at]), now_ms, session)
end
if redis.call('SCARD', named('facets:' .. session)) <= 16 then -- a room of hundreds is moved up for those who spoke
  for _, facet in ipairs(redis.call('SMEMBERS', named('facets:' .. session))) do
    redis.call('ZADD', named(facet), now_ms, session)
  end
end
redis.call('ZADD', named('expiry'), 'GT', now_ms + ttl_s * 1000, session)
redis.call('ZADD', named('active'), now_ms, session)
return now_ms
