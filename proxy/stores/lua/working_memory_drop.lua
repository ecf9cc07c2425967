-- Remove a session's working memory, and from all its lists; atomic.
-- KEYS[1]  memory: hash        KEYS[2]  due: sorted set        KEYS[3…] its lists: sorted sets
-- ARGV[1]  tag                 ARGV[2]  tag and tags of the lists, as in `due`
-- Reply    1 if it was there
for index = 3, #KEYS do
  redis.call('ZREM', KEYS[index], ARGV[1])
end
redis.call('ZREM', KEYS[2], ARGV[2])
return redis.call('UNLINK', KEYS[1])
