-- Make a lease last longer, counted from now. Needs task_prelude.
-- ARGV[2]  task   ARGV[3]  lease   ARGV[4]  milliseconds, empty for as long as it was given for
-- Reply    {ok, '', fields of the record} | {why not}
local id, lease = ARGV[2], ARGV[3]
local why = refusal(id, lease, 'renew')
if why then
  return {why}
end
local lease_ms = tonumber(ARGV[4]) or tonumber(get(id, 'lease_s')) * 1000
redis.call('ZREM', base .. 'leases', id) -- first: a full Redis would refuse the ZADD
redis.call('ZADD', base .. 'leases', now + lease_ms, id)
redis.call('HSET', record(id), 'lease_until', seconds(now + lease_ms))
return {'ok', '', redis.call('HGETALL', record(id))}
