-- Add a batch of counts to tallies, once however often it is sent.
-- KEYS[1]     marker of this batch: string
-- KEYS[2..]   tallies: hashes, in the slot of the marker
-- ARGV[1]     seconds the marker stays: longer than anybody goes on sending the batch
-- ARGV[2]     seconds a tally stays after its last count
-- ARGV[3..]   for each tally: how many counts, then field, count, field, count, …
-- Reply       1, or 0 if the batch was here before
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[1]) then
  return 0
end
local at = 3
for i = 2, #KEYS do
  local counts = tonumber(ARGV[at])
  for n = 1, counts do
    redis.call('HINCRBY', KEYS[i], ARGV[at + 2 * n - 1], ARGV[at + 2 * n])
  end
  redis.call('EXPIRE', KEYS[i], ARGV[2])
  at = at + 2 * counts + 1
end
return 1
