-- Trim the journal to its cap, sparing what a consumer group has still to acknowledge, up to a hard cap; atomic.
-- KEYS[1]  journal: stream
-- ARGV[1]  events it is to hold
-- ARGV[2]  events it may hold for the sake of consumer groups
-- Reply    {removed, of these: some group had not acknowledged them (at most), name of the group that is furthest behind | "", events left}
-- Whole nodes of the stream (100 events) go at a time, which costs a hundredth of taking each out.
local max, hard = tonumber(ARGV[1]), tonumber(ARGV[2])
local before = redis.call('XLEN', KEYS[1])
if before <= max then
  return {0, 0, '', before}
end
local function order(id)
  local ms, seq = string.match(id, '^(%d+)%-?(%d*)$')
  -- A number of Lua holds 53 bits: milliseconds fit, a sequence of one process always does.
  return tonumber(ms), tonumber(seq) or 0
end
local function is_earlier(a, b)
  local a_ms, a_seq = order(a)
  local b_ms, b_seq = order(b)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1]
local floor, slowest = nil, ''
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local is = {}
  for at = 1, #group, 2 do
    is[group[at]] = group[at + 1]
  end
  local needs = is['last-delivered-id'] -- it has been acknowledged itself, so sparing it spares one too many
  if is['pending'] > 0 then
    -- From the first event there is: what was lost long ago must not be waited for.
    local waiting = redis.call('XPENDING', KEYS[1], is['name'], first, '+', 1)[1]
    needs = waiting and waiting[1] or needs
  end
  if not floor or is_earlier(needs, floor) then
    floor, slowest = needs, is['name']
  end
end
if floor then
  redis.call('XTRIM', KEYS[1], 'MINID', '~', floor, 'LIMIT', before - max)
else
  redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', max, 'LIMIT', 0)
end
local kept = redis.call('XLEN', KEYS[1])
local lost = 0
if floor and kept > hard then
  redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', hard, 'LIMIT', 0)
  local left = redis.call('XLEN', KEYS[1])
  lost, kept = kept - left, left
end
return {before - kept, lost, lost > 0 and slowest or '', kept}
