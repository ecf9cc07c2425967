-- Submit tasks, all or none; one whose id or idempotency key was here before with the same content is the one of then. Needs task_prelude.
-- ARGV[2]  how many; for each, in this order:
--          id, payload (JSON), priority, when it may begin, when it must be done, attempts, parent, ancestors, idempotency key, digest
--          of its content, session, agent. When: empty, unix ms, or + and milliseconds from now. Attempts: empty for the queue's.
-- Reply    {ok, durability, {1 if it is new, fields of its record without payload and result}…}
--          {queue_not_found} | {idempotency_conflict, n} | {task_exists, n} | {deadline_passed, n}, with n from 0
local FIELDS = 12
local SHOWN = {'id', 'state', 'priority', 'attempt', 'max_attempts', 'worker', 'submitted_at', 'ready_at', 'started_at', 'ended_at',
  'changed_at', 'deadline_at', 'parent', 'session', 'agent', 'idempotency_key', 'reason'}
local count = tonumber(ARGV[2])

local function moment(text)
  if string.sub(text, 1, 1) == '+' then
    return now + tonumber(string.sub(text, 2))
  end
  return tonumber(text)
end

local default_attempts = redis.call('HGET', KEYS[1], 'max_attempts')
if not default_attempts then
  return {'queue_not_found'}
end
local earlier = {}
for n = 0, count - 1 do
  local at = 3 + n * FIELDS
  local id, deadline, key, digest = ARGV[at], ARGV[at + 4], ARGV[at + 8], ARGV[at + 9]
  local known = key ~= '' and redis.call('HGET', base .. 'idempotency', key)
  if known then
    if get(known, 'digest') ~= digest then
      return {'idempotency_conflict', n}
    end
    earlier[n] = known
  else
    local same = get(id, 'digest')
    if same and same ~= digest then
      return {'task_exists', n}
    end
    earlier[n] = same and id
    if not same and deadline ~= '' and moment(deadline) <= now then
      return {'deadline_passed', n}
    end
  end
end
local reply = {'ok', ''}
for n = 0, count - 1 do
  local at = 3 + n * FIELDS
  local id, priority, start, deadline, parent, key = ARGV[at], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 6], ARGV[at + 8]
  if not earlier[n] then
    local by = deadline ~= '' and moment(deadline)
    redis.call('HSET', record(id), 'id', id, 'payload', ARGV[at + 1], 'priority', priority, 'attempt', 0,
      'max_attempts', ARGV[at + 5] ~= '' and ARGV[at + 5] or default_attempts, 'submitted_at', seconds(now),
      'deadline_at', by and seconds(by) or '', 'parent', parent, 'ancestors', ARGV[at + 7], 'idempotency_key', key,
      'digest', ARGV[at + 9], 'session', ARGV[at + 10], 'agent', ARGV[at + 11], 'worker', '', 'error', '', 'last_lease', '',
      'closed_by', '')
    redis.call('ZADD', base .. 'tasks', stamp(), id)
    if key ~= '' then
      redis.call('HSET', base .. 'idempotency', key, id)
    end
    if parent ~= '' then
      redis.call('ZADD', base .. 'children:' .. parent, stamp(), id)
    end
    if by then
      redis.call('ZADD', base .. 'deadlines', by, id)
    end
    schedule(id, false, 'submitted', start ~= '' and moment(start) or now, {})
  end
  local shown = redis.call('HMGET', record(earlier[n] or id), unpack(SHOWN))
  local fields = {earlier[n] and 0 or 1}
  for i, name in ipairs(SHOWN) do
    fields[#fields + 1] = name
    fields[#fields + 1] = shown[i] or ''
  end
  reply[#reply + 1] = fields
end
reply[2] = durability()
ring(ready_now)
return reply
