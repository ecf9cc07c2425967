-- What every transition of an agent does. Stands in front of the other agent_*.lua, and is no script by itself; their arguments begin alike:
-- KEYS[1]  agents: sorted set by when they last changed (unix ms)   KEYS[2]  agents-alive: sorted set by when the heartbeat runs out
-- KEYS[3]  agents-feed: stream of all agents' transitions
-- ARGV[1…3] what the keys of states (hashes), histories (streams) and statuses (sorted sets) begin with, all in the slot of KEYS
-- ARGV[4]  transitions kept per agent            ARGV[5]  transitions kept of all
-- ARGV[6]  bytes either stream may take
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local at = string.format('%d.%03d', time[1], math.floor(time[2] / 1000))
local RESERVED = {version = true, last_updated = true, alive = true, alive_until = true}

local function whole(number)
  return string.format('%d', number) -- Lua writes large numbers with an exponent
end

local function as_map(flat)
  local map = {}
  for i = 1, #flat, 2 do
    map[flat[i]] = flat[i + 1]
  end
  return map
end

local function plain(status)
  return string.match(status, '^"(.*)"$') or status -- one that reads as JSON is quoted in the hash; names hold no quotes
end

local function append(key, entry, entries)
  redis.call('XADD', key, 'MAXLEN', '~', entries, '*', unpack(entry))
  local length = redis.call('XLEN', key)
  while length > 1 and redis.call('MEMORY', 'USAGE', key) > tonumber(ARGV[6]) do
    length = length - math.ceil(length / 8)
    redis.call('XTRIM', key, 'MAXLEN', length)
  end
end

-- set: {field, value, …} and unset: {field, …} of the hash; extra: {field, value, …} only told.
local function transition(agent, kind, version, status, set, unset, extra)
  local entry = {'type', kind, 'agent', agent, 'version', whole(version), 'at', at}
  for i = 1, #set, 2 do
    entry[#entry + 1] = 'set:' .. set[i]
    entry[#entry + 1] = set[i + 1]
  end
  for i = 1, #extra, 2 do
    entry[#entry + 1] = 'set:' .. extra[i]
    entry[#entry + 1] = extra[i + 1]
  end
  for _, field in ipairs(unset) do
    entry[#entry + 1] = 'unset:' .. field
    entry[#entry + 1] = ''
  end
  if kind ~= 'agent.deleted' then
    redis.call('HSET', ARGV[1] .. agent, 'version', whole(version), 'last_updated', at, unpack(set))
    if #unset > 0 then
      redis.call('HDEL', ARGV[1] .. agent, unpack(unset))
    end
    redis.call('ZADD', KEYS[1], now_ms, agent)
    if status then
      redis.call('ZADD', ARGV[3] .. plain(status), now_ms, agent)
    end
  end
  append(ARGV[2] .. agent, entry, ARGV[4])
  append(KEYS[3], entry, ARGV[5])
end

-- Its heartbeat ran out at `until_ms`: write that down.
local function declare_dead(agent, until_ms)
  redis.call('ZREM', KEYS[2], agent)
  local known = redis.call('HMGET', ARGV[1] .. agent, 'version', 'status')
  if known[1] then
    local ran_out = string.format('%d.%03d', math.floor(until_ms / 1000), until_ms % 1000)
    transition(agent, 'agent.dead', known[1] + 1, known[2], {'alive', 'false', 'alive_until', ran_out}, {}, {})
  end
end
