-- Erase a session, a user's part of it, or what some requests left in it; atomic. What began before is not written any more.
-- KEYS      see session_prelude.lua
-- ARGV[4]   'session', 'user' or 'requests'
-- ARGV[5,6] the user, the user's digest; '' where none is meant
-- ARGV[7…]  request ids
-- Reply     {users of the session, 1 if all of it went, turns, events, data, sessions, steps of its recording; when it was done (unix ms)}
local user, request_ids = ARGV[5], {}
for at = 7, #ARGV do
  request_ids[ARGV[at]] = true
end
local users = redis.call('SMEMBERS', USERS)

local function told(is_whole, counts)
  return {users, is_whole, counts[1], counts[2], counts[3] or 0, counts[4] or 0, counts[5] or 0, now_ms}
end

if ARGV[4] == 'requests' then
  return told(0, drop(request_ids, ''))
end
if ARGV[4] == 'session' then
  mark('all')
  return told(1, wipe())
end
mark(ARGV[6])
local owner = redis.call('HGET', META, 'user') or ''
local is_theirs = owner == user or (owner == '' and redis.call('SISMEMBER', USERS, user) == 1)
for _, other in ipairs(users) do
  is_theirs = is_theirs and other == user
end
if is_theirs then
  return told(1, wipe())
end
local counts = drop(request_ids, user)
redis.call('SREM', USERS, user)
if owner == user then
  redis.call('HDEL', META, 'user')
end
return told(0, counts)
