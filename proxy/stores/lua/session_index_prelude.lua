-- No operation of its own: what the session_index_*.lua scripts share; put before each of them.
-- KEYS[1]   what all keys of a tenant's index begin with; behind it:
--           active     sorted set  sessions by when they were last written to (unix ms)
--           expiry     sorted set  sessions by when their time is over (unix ms)
--           ttl        hash        session -> seconds it is kept, where it has its own
--           facets:<session>  set  the other lists it is in:
--           user:<user>, agent:<agent>  sorted sets  those of a user, of an agent, by when they were last written to
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local SLACK_MS = 60000 -- a session may be on another node, whose clock may be another

local function named(name)
  return KEYS[1] .. name
end

local function unlist(session)
  for _, facet in ipairs(redis.call('SMEMBERS', named('facets:' .. session))) do
    redis.call('ZREM', named(facet), session)
  end
  redis.call('UNLINK', named('facets:' .. session))
  redis.call('HDEL', named('ttl'), session)
  redis.call('ZREM', named('expiry'), session)
  return redis.call('ZREM', named('active'), session)
end

-- Take out sessions whose time is over, a few at a time: more than come in.
local function prune(most)
  for _, session in ipairs(redis.call('ZRANGEBYSCORE', named('expiry'), '-inf', now_ms - SLACK_MS, 'LIMIT', 0, most)) do
    unlist(session)
  end
end
