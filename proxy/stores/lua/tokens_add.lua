-- Add tokens to what a tenant used in a minute, a day and a month, once; and read the three.
-- KEYS[1]  marker: this batch has been added
-- KEYS[2…] minute, day, month: counters
-- ARGV[1]  tokens; 0 only reads
-- ARGV[2]  seconds the marker stays
-- ARGV[3…] seconds each counter stays
-- Reply    {minute, day, month}
local tokens = tonumber(ARGV[1])
local is_new = tokens > 0 and redis.call('SET', KEYS[1], 1, 'EX', ARGV[2], 'NX')
local sums = {}
for i = 2, #KEYS do
  if is_new then
    redis.call('INCRBY', KEYS[i], ARGV[1])
    redis.call('EXPIRE', KEYS[i], ARGV[i + 1])
  end
  sums[i - 1] = tonumber(redis.call('GET', KEYS[i]) or 0)
end
return sums
