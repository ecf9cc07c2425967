-- Create, replace or patch an agent's state, if what the caller expects of it holds; atomic. Behind agent_transition.lua.
-- KEYS[4]  agents-floor: string, the highest version a deleted agent of the tenant had
-- ARGV[7]  agent               ARGV[8]  put | patch
-- ARGV[9]  If-Match, ARGV[10] If-None-Match: '' for none, '*', or ',3,7,'
-- ARGV[11] agents, ARGV[12] fields, ARGV[13] bytes there may be
-- ARGV[14] g, ARGV[15] s: g times field, 1 | 0 whether it was there, value: what the caller merged its patch with;
--          then s times field, value: to set; then fields to remove
-- Reply    {outcome, detail, alive until (ms) | nil, now (ms), field, value, …}: ok with created | updated | same; or, nothing written,
--          conflict | missing | moved (what was merged has changed) | agents | fields | bytes with the number there would be
local agent, state = ARGV[7], ARGV[1] .. ARGV[7]
local flat = redis.call('HGETALL', state)
local current = as_map(flat)
local is_there = #flat > 0

local function reply(outcome, detail)
  local alive_until = redis.call('ZSCORE', KEYS[2], agent)
  return {outcome, detail, alive_until, now_ms, unpack(redis.call('HGETALL', state))}
end

local function named_in(versions)
  return is_there and (versions == '*' or string.find(versions, ',' .. current.version .. ',', 1, true) ~= nil)
end

if not is_there and ARGV[8] == 'patch' then
  return reply('missing', '')
end
if (ARGV[9] ~= '' and not named_in(ARGV[9])) or (ARGV[10] ~= '' and named_in(ARGV[10])) then
  return reply('conflict', '')
end
local next_arg = 16
for _ = 1, tonumber(ARGV[14]) do
  local value = current[ARGV[next_arg]]
  if (value and '1' or '0') ~= ARGV[next_arg + 1] or (value and value ~= ARGV[next_arg + 2]) then
    return reply('moved', '')
  end
  next_arg = next_arg + 3
end

local after = {}
if ARGV[8] == 'patch' then
  for field, value in pairs(current) do
    after[field] = value
  end
end
for _ = 1, tonumber(ARGV[15]) do
  after[ARGV[next_arg]] = ARGV[next_arg + 1]
  next_arg = next_arg + 2
end
for i = next_arg, #ARGV do
  after[ARGV[i]] = nil
end

local set, unset, fields, bytes = {}, {}, 0, 0
for field, value in pairs(after) do
  if not RESERVED[field] then
    fields = fields + 1
    bytes = bytes + #field + #value
    if current[field] ~= value then
      set[#set + 1] = field
      set[#set + 1] = value
    end
  end
end
for field in pairs(current) do
  if not RESERVED[field] and not after[field] then
    unset[#unset + 1] = field
  end
end
if fields > tonumber(ARGV[12]) then
  return reply('fields', whole(fields))
end
if bytes > tonumber(ARGV[13]) then
  return reply('bytes', whole(bytes))
end
if is_there and #set + #unset == 0 then
  return reply('ok', 'same')
end
local version
if is_there then
  version = current.version + 1
else
  if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[11]) then
    return reply('agents', whole(redis.call('ZCARD', KEYS[1])))
  end
  version = (redis.call('GET', KEYS[4]) or 0) + 1
end
if current.status and current.status ~= after.status then
  redis.call('ZREM', ARGV[3] .. plain(current.status), agent)
end
transition(agent, is_there and 'agent.updated' or 'agent.created', version, after.status, set, unset, {})
if not is_there then
  redis.call('PERSIST', ARGV[2] .. agent) -- of an agent that was deleted and is back
end
return reply('ok', is_there and 'updated' or 'created')
