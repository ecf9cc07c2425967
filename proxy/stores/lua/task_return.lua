-- Give back whatever a worker was handed under some leases: its claim was answered to nobody. Needs task_prelude.
-- ARGV[2]  the worker   ARGV[3…]  leases
-- Reply    {ok, how many}
local wanted = {}
for i = 3, #ARGV do
  wanted[ARGV[i]] = true
end
for priority = 0, 9 do
  local key = lane(priority)
  if redis.call('EXISTS', key) == 1 then
    for _, each in ipairs(redis.call('XPENDING', key, GROUP, '-', '+', 10000, ARGV[2])) do
      local entry = redis.call('XRANGE', key, each[1], each[1])[1]
      local id = entry and entry[2][2]
      local state, lease, attempt = unpack(id and redis.call('HMGET', record(id), 'state', 'lease', 'attempt') or {})
      if state == 'working' and wanted[lease] then
        give_back(id, 'released', attempt - 1, {'last_lease', lease, 'closed_by', 'release'})
      end
    end
  end
end
if ready_now > 0 then
  ring(ready_now)
end
return {'ok', ready_now}
