-- Add what hits have earned to what entries had earned before; atomic.
-- KEYS[1]  earnings: sorted set, entry by the logarithm of `core.worth`
-- ARGV     entry, earnings, entry, earnings, …
-- Reply    how many entries there are
for at = 1, #ARGV, 2 do
  local entry, sum = ARGV[at], tonumber(ARGV[at + 1])
  local before = redis.call('ZSCORE', KEYS[1], entry)
  if before then
    before = tonumber(before)
    sum = math.max(sum, before) + math.log(1 + 2 ^ -math.abs(sum - before)) / math.log(2)
  end
  redis.call('ZADD', KEYS[1], string.format('%.17g', sum), entry)
end
return #ARGV / 2
