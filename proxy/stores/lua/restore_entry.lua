-- Put back an entry that was exported, unless there is one already, or it was called wrong since; atomic.
-- KEYS[1]  condemned key: set of entry ids
-- KEYS[2]  entry key: hash
-- KEYS[3]  exact key: string; the same as KEYS[2] for a vector, which is its own
-- ARGV[1]  seconds it stays
-- ARGV[2]  entry id
-- ARGV[3…] fields and values
-- Reply    1 if it was put back
if redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 or redis.call('SISMEMBER', KEYS[1], ARGV[2]) == 1 then
  return 0
end
redis.call('HSET', KEYS[2], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[2], ARGV[1])
if KEYS[3] ~= KEYS[2] then
  redis.call('SET', KEYS[3], KEYS[2], 'EX', ARGV[1])
end
return 1
