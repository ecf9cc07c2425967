-- Append messages in order, all or none, and once per idempotency key; atomic.
-- KEYS      see session_prelude.lua
-- ARGV[4,5] turns and bytes of messages kept
-- ARGV[6,7] idempotency key ('' for none), digest of the messages
-- ARGV[8,9] user, agent ('' for none)
-- ARGV[10…] role, message, tokens of each message
-- Reply     {'appended' | 'repeated', ids with spaces between, turns, tokens, window_tokens | nil} | {'conflict'}
local key = ARGV[6] ~= '' and 'key:' .. ARGV[6]
local state, ids = 'appended', nil
local before = key and redis.call('HGET', WRITES, key)
if before then
  local digest, told = string.match(before, '^%d+ (%S+) (.*)$')
  if digest ~= ARGV[7] then
    return {'conflict'}
  end
  state, ids = 'repeated', told
else
  begin()
  ids = table.concat(say(10, '', ARGV[9], ARGV[8], now_s), ' ')
  trim(tonumber(ARGV[4]), tonumber(ARGV[5]))
  if key then
    remember(key, ARGV[7] .. ' ' .. ids)
  end
end
touch()
return {state, ids, unpack(redis.call('HMGET', META, 'turns', 'tokens', 'window_tokens'))}
