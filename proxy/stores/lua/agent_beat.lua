-- Note an agent's heartbeat; a transition if it was not alive before; atomic. Behind agent_transition.lua.
-- ARGV[7]  agent               ARGV[8]  milliseconds until the next one has to come
-- Reply    {version, alive until (ms)} | nil: there is no such agent
local agent, state = ARGV[7], ARGV[1] .. ARGV[7]
if redis.call('EXISTS', state) == 0 then
  return false
end
local until_ms = redis.call('ZSCORE', KEYS[2], agent)
if until_ms and tonumber(until_ms) <= now_ms then
  declare_dead(agent, tonumber(until_ms)) -- too late, if only just: those who watch are told the same as those who looked
end
local next_ms = now_ms + tonumber(ARGV[8])
redis.call('ZREM', KEYS[2], agent) -- a script that begins by removing may go on when Redis is full: nobody dies of that
redis.call('ZADD', KEYS[2], next_ms, agent)
local known = redis.call('HMGET', state, 'version', 'alive', 'status')
local version = tonumber(known[1])
if known[2] ~= 'true' then
  version = version + 1
  local told = {'alive_until', string.format('%d.%03d', math.floor(next_ms / 1000), next_ms % 1000)}
  transition(agent, 'agent.alive', version, known[3], {'alive', 'true'}, {}, told)
  redis.call('HDEL', state, 'alive_until')
end
return {version, next_ms}
