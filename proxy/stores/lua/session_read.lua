-- Read a session, which counts as using it; all of one moment.
-- KEYS      see session_prelude.lua
-- ARGV[4,5] turns and events to read at most
-- ARGV[6]   '' for the newest turns, newest first; else the first after this id, oldest first
-- Reply     {meta as name, value, …; seconds it is kept; now (unix ms); version of its data | nil; its data | nil; turns; events, newest first} | nil
if redis.call('EXISTS', META) == 0 then
  return false
end
local ttl_s = touch()
local data = redis.call('HMGET', DATA, 'version', 'data')
local turns, events = {}, {}
if tonumber(ARGV[4]) > 0 then
  if ARGV[6] == '' then
    turns = redis.call('XREVRANGE', TURNS, '+', '-', 'COUNT', ARGV[4])
  else
    turns = redis.call('XRANGE', TURNS, '(' .. ARGV[6], '+', 'COUNT', ARGV[4])
  end
end
if tonumber(ARGV[5]) > 0 then
  events = redis.call('XREVRANGE', EVENTS, '+', '-', 'COUNT', ARGV[5])
end
return {redis.call('HGETALL', META), ttl_s, now_ms, data[1], data[2], turns, events}
