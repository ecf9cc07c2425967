-- Delete an agent's state, if what the caller expects of it holds; its history stays for a while; atomic. Behind agent_transition.lua.
-- KEYS[4]  agents-floor: string, the highest version a deleted agent of the tenant had: where the next one goes on
-- ARGV[7]  agent               ARGV[8]  seconds its history stays
-- ARGV[9]  If-Match, ARGV[10] If-None-Match: '' for none, '*', or ',3,7,'
-- Reply    {outcome, detail, nil, now (ms), field, value, … of what was there}: ok with the version of the deletion | missing | conflict
local agent, state = ARGV[7], ARGV[1] .. ARGV[7]
local flat = redis.call('HGETALL', state)
local current = as_map(flat)
if #flat == 0 then
  return {'missing', '', false, now_ms}
end
local function named_in(versions)
  return versions == '*' or string.find(versions, ',' .. current.version .. ',', 1, true) ~= nil
end
if (ARGV[9] ~= '' and not named_in(ARGV[9])) or (ARGV[10] ~= '' and named_in(ARGV[10])) then
  return {'conflict', '', false, now_ms, unpack(flat)}
end
local version = current.version + 1
redis.call('DEL', state)
redis.call('ZREM', KEYS[1], agent)
redis.call('ZREM', KEYS[2], agent)
if current.status then
  redis.call('ZREM', ARGV[3] .. plain(current.status), agent)
end
if version > tonumber(redis.call('GET', KEYS[4]) or 0) then
  redis.call('SET', KEYS[4], whole(version))
end
transition(agent, 'agent.deleted', version, nil, {}, {}, {})
redis.call('EXPIRE', ARGV[2] .. agent, ARGV[8])
return {'ok', whole(version), false, now_ms, unpack(flat)}
