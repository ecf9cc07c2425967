-- Write the memories of a session anew, unless it was put again meanwhile; its TTL stays.
-- KEYS[1]  memory: hash
-- ARGV[1]  version that was read       ARGV[2]  memories (JSON)
-- Reply    1 if they were written
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'memories', ARGV[2])
return 1
