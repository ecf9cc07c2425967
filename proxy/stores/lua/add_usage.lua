-- Add a batch of counts to a tenant's day, once however often it is sent.
-- KEYS[1]   marker of this batch: string
-- KEYS[2]   the day's counts: hash
-- KEYS[3]   spent in the day: string
-- KEYS[4]   spent in the month: string
-- ARGV[1]   seconds the marker stays: longer than anybody goes on sending the batch
-- ARGV[2]   seconds the counts stay after the last one
-- ARGV[3]   seconds what was spent in the day stays      ARGV[4]   the same for the month
-- ARGV[5]   fields the day may have, about
-- ARGV[6]   what was spent, in pico-USD
-- ARGV[7..] field, field to take instead where the day is full, count; and so on
-- Reply     1, or 0 if the batch was here before; spent in the day; spent in the month (strings: Lua's numbers are exact to 2^53 only)
local is_new = redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[1])
if is_new then
  local room = tonumber(ARGV[5]) - redis.call('HLEN', KEYS[2])
  for at = 7, #ARGV, 3 do
    local field = ARGV[at]
    if redis.call('HEXISTS', KEYS[2], field) == 0 then
      if room > 0 then
        room = room - 1
      else
        field = ARGV[at + 1]
      end
    end
    redis.call('HINCRBY', KEYS[2], field, ARGV[at + 2])
  end
  redis.call('EXPIRE', KEYS[2], ARGV[2])
  for i = 3, 4 do
    redis.call('INCRBY', KEYS[i], ARGV[6])
    redis.call('EXPIRE', KEYS[i], ARGV[i])
  end
end
return {is_new and 1 or 0, redis.call('GET', KEYS[3]) or '0', redis.call('GET', KEYS[4]) or '0'}
