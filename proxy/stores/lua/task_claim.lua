-- Hand ready tasks to a worker: higher priority first, and within one the task that became ready first. Needs task_prelude.
-- ARGV[2]  the worker: consumer in the group
-- ARGV[3]  how many at most
-- ARGV[4]  milliseconds of the lease, empty for the queue's
-- ARGV[5]  1: the worker was started anew, what it held before comes first; what is more than it asks for goes back
-- ARGV[6]  how many due leases, delays and deadlines to see to, each at most
-- ARGV[7…] lease tokens, one for each task
-- Reply    {ok, ms until something may become ready | -1, fields of each record…} | {queue_not_found}
local worker, count = ARGV[2], tonumber(ARGV[3])
local lease_ms = tonumber(ARGV[4]) or tonumber(redis.call('HGET', KEYS[1], 'lease_s') or 0) * 1000
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'queue_not_found'}
end
sweep(tonumber(ARGV[6]))
local taken = {}

local function take(id)
  local attempt = get(id, 'attempt')
  local until_ms = now + lease_ms
  redis.call('ZADD', base .. 'leases', until_ms, id)
  change(id, 'submitted', 'working', '', {'lease', ARGV[7 + #taken], 'lease_until', seconds(until_ms),
    'lease_s', lease_ms / 1000, 'worker', worker, 'attempt', attempt + 1, 'started_at', seconds(now)})
  ready_now = ready_now - 1
  taken[#taken + 1] = id
end

-- The task of an entry, if it is still there to be done; an entry without one is removed.
local function task_of(key, entry, fields)
  local id = fields and fields[2]
  local state, mine = unpack(id and redis.call('HMGET', record(id), 'state', 'entry') or {})
  if state and mine == entry and is_open(state) then
    return id, state
  end
  redis.call('XACK', key, GROUP, entry)
  redis.call('XDEL', key, entry)
end

local function pending(key, consumer, limit)
  local found = {}
  for _, each in ipairs(redis.call('XPENDING', key, GROUP, '-', '+', limit, consumer)) do
    local entries = redis.call('XRANGE', key, each[1], each[1])
    local id, state = task_of(key, each[1], entries[1] and entries[1][2])
    if id then
      found[#found + 1] = {each[1], id, state}
    end
  end
  return found
end

local function take_from(key, consumer, found)
  for _, each in ipairs(found) do
    if #taken < count and each[3] == 'submitted' then
      redis.call('XCLAIM', key, GROUP, consumer, 0, each[1])
      take(each[2])
    end
  end
end

local lanes = {}
for priority = 9, 0, -1 do
  if redis.call('EXISTS', lane(priority)) == 1 then
    lanes[#lanes + 1] = lane(priority)
  end
end
if ARGV[5] == '1' then
  for _, key in ipairs(lanes) do
    local mine = pending(key, worker, 1000)
    for _, each in ipairs(mine) do
      if each[3] == 'working' then
        lose(each[2], 'worker-restarted')
        each[3] = get(each[2], 'state') -- failed where its attempts are used up
      end
    end
    take_from(key, worker, mine)
  end
end
for _, key in ipairs(lanes) do
  if #taken < count then
    take_from(key, worker, pending(key, RETURNED, count - #taken))
  end
  while #taken < count do
    local read = redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', count - #taken, 'STREAMS', key, '>')
    if not read or #read == 0 then
      break
    end
    for _, entry in ipairs(read[1][2]) do
      local id = task_of(key, entry[1], entry[2])
      if id then
        take(id)
      end
    end
  end
end
if ready_now > 0 then
  ring(ready_now)
end
local wait = -1
for _, name in ipairs({'delayed', 'leases'}) do
  local first = redis.call('ZRANGE', base .. name, 0, 0, 'WITHSCORES')
  if first[2] then
    local ms = math.max(0, math.ceil(first[2] - now))
    wait = wait < 0 and ms or math.min(wait, ms)
  end
end
local reply = {'ok', wait}
for _, id in ipairs(taken) do
  reply[#reply + 1] = redis.call('HGETALL', record(id))
end
return reply
