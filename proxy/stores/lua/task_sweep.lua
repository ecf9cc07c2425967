-- See to what time has brought about: deadlines, leases, delays. Needs task_prelude.
-- ARGV[2]  how many of each at most
-- Reply    {ok, how many there were}
local count = 0
if redis.call('EXISTS', KEYS[1]) == 1 then
  count = sweep(tonumber(ARGV[2]))
end
if ready_now > 0 then
  ring(ready_now)
end
return {'ok', count}
