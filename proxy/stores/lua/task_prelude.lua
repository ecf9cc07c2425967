-- What the scripts of a queue share; `stores.tasks` puts it before each of them. All keys of a queue lie in one slot.
-- KEYS[1]  the queue's `config`: hash; what the others are called follows from it
-- ARGV[1]  how many updates are kept, about
-- Reply    of every script: {word} or {word, …}; a word other than ok or repeated says why nothing was done. Behind the word stand,
--          each after a space, the reasons of the tasks that failed for good meanwhile: `ok lease-expired deadline`
--
-- A task's record is `task:<id>`. While it is ready or being worked at it has an entry in the stream of its priority, read through one consumer
-- group: new ones by XREADGROUP, and those that came back by XCLAIM from a consumer that no worker can be called. XACK and XDEL
-- always go together.
--
-- Commands that free memory come first wherever work ends: Redis refuses only a script's first write when memory is full, so that what
-- was done can still be acknowledged then, and what cannot be kept leaves no trace.
local GROUP, RETURNED = 'workers', '~returned'
local STATES = {'submitted', 'working', 'input-required', 'auth-required', 'completed', 'failed', 'canceled', 'rejected'}
local base = string.sub(KEYS[1], 1, -7)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ticks = 0
local delays = 0 -- of one batch, a thousand at most: what is due in the same millisecond keeps its order
local ready_now = 0 -- tasks that somebody who waits may claim
local deaths = '' -- reasons of the tasks that failed for good, each after a space

local function seconds(ms)
  return string.format('%.3f', ms / 1000)
end

-- Unix ms that differ and rise within a script, so that lists keep the order of a batch.
local function stamp()
  ticks = ticks + 1
  return string.format('%.3f', time[1] * 1000 + (time[2] + ticks) / 1000)
end

local function record(id)
  return base .. 'task:' .. id
end

local function lane(priority)
  return base .. 'ready:' .. priority
end

local function is_open(state)
  return state == 'submitted' or state == 'working' or state == 'input-required' or state == 'auth-required'
end

local function get(id, ...)
  return unpack(redis.call('HMGET', record(id), ...))
end

-- Another state, or the same one anew: record, lists, updates. `fields` are more of the record's.
local function change(id, from, to, reason, fields)
  if from then
    redis.call('ZREM', base .. 'state:' .. from, id)
  end
  redis.call('HSET', record(id), 'state', to, 'changed_at', seconds(now), 'reason', reason, unpack(fields))
  redis.call('ZADD', base .. 'state:' .. to, stamp(), id)
  local attempt, worker = get(id, 'attempt', 'worker')
  local update = redis.call('XADD', base .. 'updates', 'MAXLEN', '~', ARGV[1], '*', 'task', id, 'from', from or '',
    'state', to, 'attempt', attempt, 'worker', worker, 'reason', reason, 'at', seconds(now))
  redis.call('HSET', record(id), 'update', update)
end

local function enter_lane(id, priority)
  local key = lane(priority)
  if redis.call('EXISTS', key) == 0 then
    redis.call('XGROUP', 'CREATE', key, GROUP, '0', 'MKSTREAM')
  end
  ready_now = ready_now + 1
  return redis.call('XADD', key, '*', 'task', id)
end

-- Take a task out of everything that would hand it to somebody or wake it.
local function withdraw(id)
  local priority, entry = get(id, 'priority', 'entry')
  if entry ~= '' then
    redis.call('XACK', lane(priority), GROUP, entry)
    redis.call('XDEL', lane(priority), entry)
  end
  redis.call('ZREM', base .. 'leases', id)
  redis.call('ZREM', base .. 'delayed', id)
end

-- The end of a task. `closing` is what a worker that asks again is told by: the lease that ended, and what ended it.
local function finish(id, from, to, reason, closing, fields)
  withdraw(id)
  redis.call('ZREM', base .. 'deadlines', id)
  local lease = get(id, 'lease')
  local all = {'entry', '', 'lease', '', 'lease_until', '', 'ended_at', seconds(now), 'closed_by', closing}
  if lease ~= '' then
    all[#all + 1] = 'last_lease'
    all[#all + 1] = lease
  end
  for _, each in ipairs(fields) do
    all[#all + 1] = each
  end
  change(id, from, to, reason, all)
end

-- The dead letter: it failed, and is not tried again unless somebody requeues it.
local function bury(id, reason, closing, fields)
  finish(id, 'working', 'failed', reason, closing, fields)
  local attempt, err = get(id, 'attempt', 'error')
  local entry = redis.call('XADD', base .. 'dead', '*', 'task', id, 'reason', reason, 'attempts', attempt, 'error', err,
    'at', seconds(now))
  redis.call('HSET', record(id), 'dead', entry)
  deaths = deaths .. ' ' .. reason
end

-- Its deadline has passed: it failed, and there is no point in trying again.
local function miss(id, state)
  finish(id, state, 'failed', 'deadline', 'deadline', {})
  deaths = deaths .. ' deadline'
end

-- Make a task ready that nobody holds, now or when `due` (unix ms) comes.
local function schedule(id, from, reason, due, fields)
  local priority = get(id, 'priority')
  local all = {'lease', '', 'lease_until', '', 'worker', '', 'entry', ''}
  for _, each in ipairs(fields) do
    all[#all + 1] = each
  end
  if due > now then
    all[#all + 1] = 'ready_at'
    all[#all + 1] = seconds(due)
    change(id, from, 'submitted', reason, all)
    redis.call('ZADD', base .. 'delayed', string.format('%.3f', math.floor(due) + delays / 1000), id)
    delays = delays + 1
  else
    all[#all + 1] = 'ready_at'
    all[#all + 1] = seconds(now)
    change(id, from, 'submitted', reason, all)
    redis.call('HSET', record(id), 'entry', enter_lane(id, priority))
  end
end

-- A task comes back from its worker and keeps its place: before all that became ready after it.
local function give_back(id, reason, attempt, fields)
  local priority, entry = get(id, 'priority', 'entry')
  redis.call('ZREM', base .. 'leases', id)
  redis.call('XCLAIM', lane(priority), GROUP, RETURNED, 0, entry, 'JUSTID')
  local all = {'lease', '', 'lease_until', '', 'worker', '', 'attempt', attempt}
  for _, each in ipairs(fields) do
    all[#all + 1] = each
  end
  change(id, 'working', 'submitted', reason, all)
  ready_now = ready_now + 1
end

-- Its worker is gone: an attempt was used up.
local function lose(id, reason)
  local attempt, max_attempts = get(id, 'attempt', 'max_attempts')
  if tonumber(attempt) >= tonumber(max_attempts) then
    bury(id, reason, reason, {})
  else
    give_back(id, reason, attempt, {})
  end
end

-- Remove a record with all that leads to it; what would hand it out was withdrawn before.
local function forget(id, state)
  local key, parent, dead = get(id, 'idempotency_key', 'parent', 'dead')
  redis.call('ZREM', base .. 'state:' .. state, id)
  redis.call('ZREM', base .. 'tasks', id)
  if key and key ~= '' and redis.call('HGET', base .. 'idempotency', key) == id then
    redis.call('HDEL', base .. 'idempotency', key)
  end
  if parent and parent ~= '' then
    redis.call('ZREM', base .. 'children:' .. parent, id)
  end
  if dead and dead ~= '' then
    redis.call('XDEL', base .. 'dead', dead)
  end
  redis.call('UNLINK', record(id))
end

local function due(name, limit)
  return redis.call('ZRANGEBYSCORE', base .. name, '-inf', now, 'LIMIT', 0, limit)
end

-- All that time has brought about: deadlines passed, leases run out, delays over. Replies how much there was.
local function sweep(limit)
  local late, lost, ripe = due('deadlines', limit), due('leases', limit), due('delayed', limit)
  for _, id in ipairs(late) do
    local state = get(id, 'state')
    if is_open(state) then
      miss(id, state)
    else
      redis.call('ZREM', base .. 'deadlines', id)
    end
  end
  for _, id in ipairs(lost) do
    if get(id, 'state') == 'working' then -- else its deadline has passed, too
      lose(id, 'lease-expired')
    else
      redis.call('ZREM', base .. 'leases', id)
    end
  end
  for _, id in ipairs(ripe) do
    local state, priority = get(id, 'state', 'priority')
    redis.call('ZREM', base .. 'delayed', id)
    if state == 'submitted' then
      redis.call('HSET', record(id), 'entry', enter_lane(id, priority))
    end
  end
  return #late + #lost + #ripe
end

-- Wake as many as there are tasks for; with 0 one of them looks how long to sleep.
local function ring(count)
  redis.call('PUBLISH', base .. 'wake', count)
end

-- Why a lease cannot be used for something, nil where it can.
local function refusal(id, lease, deed)
  if redis.call('EXISTS', KEYS[1]) == 0 then
    return 'queue_not_found'
  end
  local state, current, last, closed_by, deadline = get(id, 'state', 'lease', 'last_lease', 'closed_by', 'deadline_at')
  if not state then
    return 'task_not_found'
  end
  if state == 'working' and current == lease then
    if deadline ~= '' and tonumber(deadline) * 1000 <= now then
      miss(id, 'working')
      return 'deadline_passed'
    end
    return nil
  end
  if last == lease then
    if closed_by == deed then
      return 'repeated'
    elseif closed_by == 'cancel' then
      return 'task_canceled'
    elseif closed_by == 'deadline' then
      return 'deadline_passed'
    end
  end
  return 'lease_lost'
end

local function durability()
  return redis.call('HGET', KEYS[1], 'durability')
end

local function done(word, id)
  return {word, durability(), redis.call('HGETALL', record(id))}
end

-- The reply of a script, with what it has to tell of deaths.
local function told(reply)
  reply[1] = reply[1] .. deaths
  return reply
end
