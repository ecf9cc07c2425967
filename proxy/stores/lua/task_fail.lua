-- Let an attempt fail: the task is tried again later, or goes to the dead letter. Needs task_prelude.
-- ARGV[2]  task   ARGV[3]  lease   ARGV[4]  error (JSON)   ARGV[5]  1: try again, if attempts are left
-- ARGV[6]  milliseconds until then; empty: the queue's back-off, doubled for each attempt
-- ARGV[7]  chance in [0, 1): the share of half the back-off that is taken off it, so that what failed together does not return together
-- Reply    {ok | repeated, durability, fields of the record} | {why not}
local id, lease = ARGV[2], ARGV[3]
local why = refusal(id, lease, 'fail')
if why and why ~= 'repeated' then
  return {why}
end
if not why then
  local attempt, max_attempts = get(id, 'attempt', 'max_attempts')
  if ARGV[5] ~= '1' then
    bury(id, 'not-retried', 'fail', {'error', ARGV[4]})
  elseif tonumber(attempt) >= tonumber(max_attempts) then
    bury(id, 'attempts-used-up', 'fail', {'error', ARGV[4]})
  else
    local delay = tonumber(ARGV[6])
    if not delay then
      local first, most = unpack(redis.call('HMGET', KEYS[1], 'backoff_s', 'max_backoff_s'))
      delay = math.min(tonumber(most), tonumber(first) * 2 ^ math.min(attempt - 1, 40)) * 1000
      delay = math.floor(delay * (1 - tonumber(ARGV[7]) / 2))
    end
    withdraw(id)
    schedule(id, 'working', 'retry', now + delay, {'error', ARGV[4], 'last_lease', lease, 'closed_by', 'fail'})
    ring(ready_now)
  end
end
return done(why or 'ok', id)
