-- Make a consumer group, and its stream if that is not there yet; atomic.
-- KEYS[1]  the stream
-- KEYS[2]  names of the tenant's streams: set
-- ARGV[1]  the stream's name
-- ARGV[2]  streams a tenant may have          ARGV[3]  groups a stream may have
-- ARGV[4]  the group's name
-- ARGV[5]  id after which it begins; $ for what is appended from now on
-- Reply    1 if it was made, 0 if it was there | error TOOMANYSTREAMS or TOOMANYGROUPS
if redis.call('EXISTS', KEYS[1]) == 1 then
  local groups = redis.call('XINFO', 'GROUPS', KEYS[1])
  for _, group in ipairs(groups) do
    if group[2] == ARGV[4] then
      return 0
    end
  end
  if #groups >= tonumber(ARGV[3]) then
    return redis.error_reply('TOOMANYGROUPS this stream has all the groups it may have')
  end
elseif redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 0 and redis.call('SCARD', KEYS[2]) >= tonumber(ARGV[2]) then
  return redis.error_reply('TOOMANYSTREAMS this tenant has all the streams it may have')
end
redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[4], ARGV[5], 'MKSTREAM')
redis.call('SADD', KEYS[2], ARGV[1])
return 1
