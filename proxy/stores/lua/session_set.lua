-- Create a session, or change what is said of it; atomic.
-- KEYS      see session_prelude.lua
-- ARGV[4…]  name, value, …: fields of meta (user, ttl_s, window_tokens); '' takes one away
-- Reply     1 if it is new
local is_new = redis.call('EXISTS', META) == 0
begin()
for at = 4, #ARGV, 2 do
  if ARGV[at + 1] == '' then
    redis.call('HDEL', META, ARGV[at])
  else
    redis.call('HSET', META, ARGV[at], ARGV[at + 1])
  end
  if ARGV[at] == 'user' and ARGV[at + 1] ~= '' then
    redis.call('SADD', USERS, ARGV[at + 1])
  end
end
touch()
return is_new and 1 or 0
