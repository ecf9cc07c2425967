-- Read a session's working memory: the one of exactly this user and namespace, else the only one that fits what is known of them.
-- KEYS[1]  memory: hash        KEYS[2]  list of the sessions with this id: sorted set
-- ARGV[1]  what the keys of memories begin with
-- ARGV[2]  user, empty for any                     ARGV[3]  namespace, empty for any
-- ARGV[4]  how many sessions with this id are looked at
-- Reply    {how many fit, 2 for several or too many to look at, field, value, … where it is one}
local exact = redis.call('HGETALL', KEYS[1])
if #exact > 0 then
  return {1, unpack(exact)}
end
local most = tonumber(ARGV[4])
local page = redis.call('ZREVRANGE', KEYS[2], 0, most)
if #page > most then
  return {2}
end
local fits
for _, tag in ipairs(page) do
  local key = ARGV[1] .. tag
  local whose = redis.call('HMGET', key, 'user_id', 'namespace')
  if whose[1] and (ARGV[2] == '' or ARGV[2] == whose[1]) and (ARGV[3] == '' or ARGV[3] == whose[2]) then
    if fits then
      return {2}
    end
    fits = key
  end
end
if not fits then
  return {0}
end
return {1, unpack(redis.call('HGETALL', fits))}
