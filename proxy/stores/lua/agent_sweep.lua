-- Write down which of a tenant's agents are dead: their heartbeats have run out; each once, whoever sweeps. Atomic. Behind agent_transition.lua.
-- ARGV[7]  how many at most
-- Reply    how many there were
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now_ms, 'WITHSCORES', 'LIMIT', 0, ARGV[7])
for i = 1, #lapsed, 2 do
  declare_dead(lapsed[i], tonumber(lapsed[i + 1]))
end
return #lapsed / 2
