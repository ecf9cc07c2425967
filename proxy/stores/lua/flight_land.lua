-- Give the lease of a call up, at once or after it has lingered; only the one who holds it can.
-- KEYS[1]  lease: string
-- ARGV[1]  id of the call
-- ARGV[2]  what the lease says while it lingers; empty: it is given up at once
-- ARGV[3]  milliseconds it lingers
-- Reply    1 | 0 where another holds it, or nobody
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
