-- Give a memory its vector, unless it is gone or says something else by now; atomic.
-- KEYS[1]  memory: hash
-- ARGV[1]  digest of the text that was embedded
-- ARGV[2]  prefix of the fields that hold vectors; those of other embedders are removed
-- ARGV[3…] fields and values to write
-- Reply    1 | 0
if redis.call('HGET', KEYS[1], 'text_digest') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, #ARGV[2]) == ARGV[2] and field ~= ARGV[3] then
    redis.call('HDEL', KEYS[1], field)
  end
end
return 1
