-- Store an entry, point the exact key at it and write what the conversation now stands for; atomic.
-- KEYS[1]  entry key: hash, must not exist
-- KEYS[2]  exact key: string
-- KEYS[3]  context key: string; the same as KEYS[2] when there is none to write
-- KEYS[4]  condemned key: set of entry ids
-- ARGV[1]  seconds the entry stays
-- ARGV[2]  value of the context key
-- ARGV[3…] fields and values of the entry
-- Reply    redis key of the entry this one replaces | nil
local ttl_s = tonumber(ARGV[1])
local replaced = redis.call('GET', KEYS[2])
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[1], ttl_s)
redis.call('SET', KEYS[2], KEYS[1], 'EX', ttl_s)
if KEYS[3] ~= KEYS[2] then
  -- Set if absent: a prefix keeps the meaning it was first given. It lives at least as long as the entry.
  if not redis.call('SET', KEYS[3], ARGV[2], 'EX', ttl_s, 'NX') then
    redis.call('EXPIRE', KEYS[3], ttl_s, 'GT')
    if redis.call('EXISTS', KEYS[4]) == 1 then
      for id in string.gmatch(redis.call('GET', KEYS[3]), '[^ ,]+') do
        if redis.call('SISMEMBER', KEYS[4], id) == 1 then
          redis.call('SET', KEYS[3], ARGV[2], 'EX', ttl_s) -- what it stood for was called wrong
          break
        end
      end
    end
  end
end
if replaced and replaced ~= KEYS[1] then
  redis.call('UNLINK', replaced) -- or it would go on answering by meaning
  return replaced
end
return false
