-- Remove from a page of a stream of events those of a session; atomic.
-- KEYS[1]  stream of events
-- ARGV[1]  begin after this entry
-- ARGV[2]  entries of the page
-- ARGV[3]  session
-- Reply    {id of the page's last entry | nil where the stream ends, how many were removed}
local page, gone = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2]), 0
for _, entry in ipairs(page) do
  for at = 1, #entry[2], 2 do
    if entry[2][at] == 'session' and entry[2][at + 1] == ARGV[3] then
      gone = gone + redis.call('XDEL', KEYS[1], entry[1])
      break
    end
  end
end
return {#page == tonumber(ARGV[2]) and page[#page][1] or false, gone}
