-- Write the turns of one recorded request, once, unless the session or its user's part of it was erased after the request began; atomic.
-- KEYS      see session_prelude.lua
-- ARGV[4,5] turns and bytes of messages kept
-- ARGV[6]   when the request began, by Redis' clock (unix ms)
-- ARGV[7…11] request id ('' for a note, which has no turns), user, the user's digest ('' for none), agent, at (unix s)
-- ARGV[12,13] what the request left elsewhere (JSON; '' for nothing), and when that is gone by itself (unix ms)
-- ARGV[14…] role, message, tokens of each turn
-- Reply     {1 written | 0 it was there already | -1 erased, seconds the session is kept}
local began_ms, request_id = tonumber(ARGV[6]), ARGV[7]
local erased = redis.call('HMGET', ERASED, 'all', ARGV[9] ~= '' and ARGV[9] or 'all')
if began_ms <= tonumber(erased[1] or -1) or began_ms <= tonumber(erased[2] or -1) then
  return {-1, 0}
end
if ARGV[12] ~= '' then
  redis.call('ZADD', REQUESTS, ARGV[13], ARGV[12])
  redis.call('ZREMRANGEBYSCORE', REQUESTS, '-inf', now_ms)
  local last = redis.call('ZRANGE', REQUESTS, -1, -1, 'WITHSCORES')
  if last[2] then
    redis.call('PEXPIREAT', REQUESTS, last[2])
  end
end
if request_id ~= '' and redis.call('HEXISTS', WRITES, request_id) == 1 then
  return {0, touch()}
end
begin()
say(14, request_id, ARGV[10], ARGV[8], ARGV[11])
trim(tonumber(ARGV[4]), tonumber(ARGV[5]))
if request_id ~= '' then
  remember(request_id, '')
end
return {1, touch()}
