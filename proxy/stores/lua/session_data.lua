-- Write a session's structured data, if they are of the version that the writer read; atomic.
-- KEYS      see session_prelude.lua
-- ARGV[4]   version they must have: 0 for none there
-- ARGV[5]   the data, JSON
-- Reply     {1, new version} | {0, version they have, the data they are}
local has = redis.call('HMGET', DATA, 'version', 'data')
local version = tonumber(has[1] or 0)
if version ~= tonumber(ARGV[4]) then
  return {0, version, has[2]}
end
begin()
redis.call('HSET', DATA, 'version', version + 1, 'data', ARGV[5], 'updated_at', now_s)
touch()
return {1, version + 1}
