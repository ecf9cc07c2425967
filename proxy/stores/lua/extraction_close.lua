-- Close a group: nothing is added to it any more. One that has been finished, or never was, stays closed for a while and then goes.
-- KEYS[1]  group: hash            ARGV[1]  seconds that an empty one stays
-- Reply    its fields and values
redis.call('HSET', KEYS[1], 'closed', '1')
if redis.call('HEXISTS', KEYS[1], 'about') == 0 then
  redis.call('EXPIRE', KEYS[1], ARGV[1])
end
return redis.call('HGETALL', KEYS[1])
