-- Create a queue or change how it works; fields that are not given stay as they are. Needs task_prelude.
-- ARGV[2…] names and values that are given, then `-`, then names and values of the defaults
-- Reply    {created | ok, its fields}
local is_new = redis.call('EXISTS', KEYS[1]) == 0
local at = 2
local given = {}
while ARGV[at] ~= '-' do
  given[#given + 1] = ARGV[at]
  at = at + 1
end
if is_new then
  redis.call('HSET', KEYS[1], 'created_at', seconds(now), 'changed_at', seconds(now), unpack(ARGV, at + 1))
end
if #given > 0 then
  redis.call('HSET', KEYS[1], 'changed_at', seconds(now), unpack(given))
end
return {is_new and 'created' or 'ok', redis.call('HGETALL', KEYS[1])}
