-- Which of some parts of a recording is there, the last of them first.
-- KEYS[1]  parts: hash
-- ARGV[1…] names, last one first
-- Reply    the place of the first that is there, from 1 | 0, none is
for at = 1, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[at]) == 1 then
    return at
  end
end
return 0
