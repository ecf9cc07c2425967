-- What the scripts that write lists of working memories begin with: taking out the sessions whose TTL is over.
-- due      sorted set by when a TTL is over (unix ms); a member is a session's tag and those of its lists, with spaces between them
-- lists    what the keys of lists begin with
local SWEEP = 200 -- of them at once, some 5 us each: Redis has one thread
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local function sweep(due, lists)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now_ms, 'LIMIT', 0, SWEEP)) do
    local tag
    for word in string.gmatch(member, '%S+') do
      if tag then
        redis.call('ZREM', lists .. word, tag)
      else
        tag = word
      end
    end
    redis.call('ZREM', due, member)
  end
end
