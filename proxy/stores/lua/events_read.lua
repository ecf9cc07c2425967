-- Give a consumer of a group its next events: its own that it has not acknowledged, what others left, then new ones; atomic.
-- KEYS[1]  the stream
-- KEYS[2]  policy of the stream: hash
-- ARGV[1]  the group          ARGV[2]  the consumer
-- ARGV[3]  how many events at most
-- ARGV[4]  1 to begin with what this consumer was given and has not acknowledged, else 0
-- ARGV[5]  milliseconds after which what nobody acknowledged is given anew, to whoever asks
-- Reply    {{{id, {field, value, …}, deliveries}, …}; the last id the group was ever given; events it missed so far}
--          | error NOGROUP
local group, consumer, wanted = ARGV[1], ARGV[2], tonumber(ARGV[3])
local ROUNDS = 10 -- pages of what is pending, looked through at most: it may be long and nothing of it idle

local position
if redis.call('EXISTS', KEYS[1]) == 1 then
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    for index = 1, #flat, 2 do
      if flat[index] == 'name' and flat[index + 1] ~= group then
        break
      elseif flat[index] == 'last-delivered-id' then
        position = flat[index + 1]
      end
    end
  end
end
if not position then
  return redis.error_reply('NOGROUP there is no such consumer group')
end

local given, is_given, gone = {}, {}, {}
local function give(entries, is_new)
  for _, entry in ipairs(entries) do
    local id, fields = entry[1], entry[2]
    if not fields then
      gone[#gone + 1] = id
    elseif not is_given[id] then
      is_given[id] = true
      local deliveries = is_new and 1 or redis.call('XPENDING', KEYS[1], group, id, id, 1)[1][4]
      given[#given + 1] = { id, fields, deliveries }
    end
  end
end
local function read(from)
  local reply = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', wanted - #given, 'STREAMS', KEYS[1], from)
  return reply and reply[1] and reply[1][2] or {}
end

local missed = 0
if ARGV[4] == '1' then
  give(read('0'), false)
  for _, id in ipairs(gone) do -- trimmed past the hard cap
    missed = missed + redis.call('XACK', KEYS[1], group, id)
  end
end
if #given < wanted then
  local mark = 'claim:' .. group
  local cursor = redis.call('HGET', KEYS[2], mark) or '0-0'
  local began_at = cursor
  for _ = 1, ROUNDS do
    local claimed = redis.call('XAUTOCLAIM', KEYS[1], group, consumer, ARGV[5], cursor, 'COUNT', wanted - #given)
    cursor = claimed[1]
    give(claimed[2], false)
    missed = missed + #(claimed[3] or {})
    if #given >= wanted or cursor == '0-0' then
      break
    end
  end
  if cursor ~= '0-0' then
    redis.call('HSET', KEYS[2], mark, cursor)
  elseif began_at ~= '0-0' then
    redis.call('HDEL', KEYS[2], mark)
  end
end
if #given < wanted then
  local fresh = read('>')
  give(fresh, true)
  if #fresh > 0 then
    position = fresh[#fresh][1]
  end
end
if missed > 0 then
  missed = redis.call('HINCRBY', KEYS[2], 'missed:' .. group, missed)
else
  missed = tonumber(redis.call('HGET', KEYS[2], 'missed:' .. group) or 0)
end
return { given, position, missed }
