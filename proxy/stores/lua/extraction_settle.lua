-- Write down what was drawn from a group, unless somebody did before: what is stored is always the first.
-- KEYS[1]  group: hash            ARGV[1]  memories (JSON)
-- Reply    the memories that count; nil if the group has been finished
if redis.call('HEXISTS', KEYS[1], 'about') == 0 then
  return false
end
redis.call('HSETNX', KEYS[1], 'drawn', ARGV[1])
return redis.call('HGET', KEYS[1], 'drawn')
