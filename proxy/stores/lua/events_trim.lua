-- Remove what a stream need not keep any more; atomic.
-- No event goes that a consumer group has not acknowledged, unless the stream is longer than it may be at all.
-- KEYS[1]  the stream
-- KEYS[2]  names of the tenant's streams: set
-- KEYS[3]  policy of the stream: hash
-- ARGV[1]  the stream's name
-- ARGV[2]  policy: by the stream's policy, in whole nodes, bounded work | exact: by what is said here, exactly
-- ARGV[3]  events to keep          ARGV[4]  seconds to keep an event; both where the policy does not say
-- ARGV[5]  events kept for consumer groups that have not got on (policy only), where the policy does not say
-- ARGV[6]  id before which everything may go (exact only), 0-0 for none
-- Reply    {events removed; those of them that a group had not been given, summed over the groups; events left;
--           the group for which more is kept than wished (exact only), or false; 1 if there may be more to remove, else 0}
local is_exact = ARGV[2] == 'exact'
local about = is_exact and '=' or '~'
local PAGE, AT_ONCE = 100, 1000 -- while counting what groups miss: one page of entries in memory, a few milliseconds in all

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function is_before(one, other)
  local one_ms, one_seq = parts(one)
  local other_ms, other_seq = parts(other)
  return one_ms < other_ms or (one_ms == other_ms and one_seq < other_seq)
end

local function after(id)
  local ms, seq = parts(id)
  return string.format('%.0f-%.0f', ms, seq + 1)
end

if redis.call('EXISTS', KEYS[1]) == 0 then
  if redis.call('EXISTS', KEYS[3]) == 0 then
    redis.call('SREM', KEYS[2], ARGV[1])
  end
  return { 0, 0, 0, false, 0 }
end

local max_events, max_age_s, max_unread = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if not is_exact then
  local policy = redis.call('HMGET', KEYS[3], 'max_events', 'max_age_s', 'max_unread_events')
  max_events = tonumber(policy[1] or max_events)
  max_age_s = tonumber(policy[2] or max_age_s)
  max_unread = math.max(max_events, tonumber(policy[3] or max_unread))
end

-- Where groups are: the first event that the slowest has not acknowledged must stay.
local groups, floor, slowest = {}, nil, false
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for index = 1, #flat, 2 do
    group[flat[index]] = flat[index + 1]
  end
  local first = after(group['last-delivered-id'])
  if group['pending'] > 0 then
    local pending = redis.call('XPENDING', KEYS[1], group['name'])[2]
    first = is_before(pending, first) and pending or first
  end
  if not floor or is_before(first, floor) then
    floor, slowest = first, group['name']
  end
  groups[#groups + 1] = { name = group['name'], position = group['last-delivered-id'], missed = 0 }
end

local removed = 0
local function trim(...)
  local count = redis.call('XTRIM', KEYS[1], ...)
  removed = removed + count
  return count
end

-- By age, and up to the id that was named.
local time = redis.call('TIME')
local cut = string.format('%.0f-0', math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - max_age_s * 1000))
if is_before(cut, ARGV[6]) then
  cut = ARGV[6]
end
local wished = cut
if floor and is_before(floor, cut) then
  cut = floor
end
trim('MINID', about, cut)

-- By length.
local length = redis.call('XLEN', KEYS[1])
if length > max_events then
  if not floor then
    trim('MAXLEN', about, max_events)
  else
    trim('MINID', '~', floor, 'LIMIT', length - max_events)
    local rest = redis.call('XLEN', KEYS[1]) - max_events
    if is_exact and rest > 0 then -- less than a node of what may go
      local old = redis.call('XRANGE', KEYS[1], '-', '(' .. floor, 'COUNT', rest)
      if #old > 0 then
        trim('MINID', '=', after(old[#old][1]))
      end
    end
  end
end

-- Past the hard cap the oldest goes whoever lacks it, and each group's loss is counted.
local missed = 0
local over = is_exact and 0 or redis.call('XLEN', KEYS[1]) - max_unread
local is_more = over > AT_ONCE
over = floor and math.min(over, AT_ONCE) or 0
while over > 0 do
  local page = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', math.min(over, PAGE))
  for _, group in ipairs(groups) do
    for index = #page, 1, -1 do
      if not is_before(group.position, page[index][1]) then
        break
      end
      group.missed = group.missed + 1
    end
  end
  trim('MAXLEN', '=', redis.call('XLEN', KEYS[1]) - #page)
  over = over - #page
end
for _, group in ipairs(groups) do
  if group.missed > 0 then
    redis.call('HINCRBY', KEYS[3], 'missed:' .. group.name, group.missed)
    missed = missed + group.missed
  end
end

local left = redis.call('XLEN', KEYS[1])
local held_by = false
if is_exact and floor then
  local is_held = is_before(floor, wished) and #redis.call('XRANGE', KEYS[1], floor, '(' .. wished, 'COUNT', 1) > 0
  held_by = (is_held or left > max_events) and slowest
end
if left == 0 and #groups == 0 and redis.call('EXISTS', KEYS[3]) == 0 then
  redis.call('DEL', KEYS[1])
  redis.call('SREM', KEYS[2], ARGV[1])
end
return { removed, missed, left, held_by, (is_more or removed >= AT_ONCE) and 1 or 0 }
