-- Write what came of a view's partition, unless the view was removed meanwhile.
-- KEYS[1]  views: hash      KEYS[2]  view: hash
-- ARGV[1]  id of the view   ARGV[2]  group (JSON)   ARGV[3]  partition (JSON)
-- Reply    1 if it was written
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return 1
