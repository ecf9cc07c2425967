-- Remove from a page of the journal what belongs to some sessions or requests of a tenant; atomic.
-- KEYS[1]  journal: stream of events
-- ARGV[1]  begin after this entry
-- ARGV[2]  entries of the page
-- ARGV[3]  tenant
-- ARGV[4]  how many session ids follow; the rest are request ids
-- Reply    {id of the page's last entry | nil where the journal ends, how many were removed}
local sessions, request_ids = {}, {}
for at = 5, #ARGV do
  if at < 5 + tonumber(ARGV[4]) then
    sessions[ARGV[at]] = true
  else
    request_ids[ARGV[at]] = true
  end
end
local page, gone = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2]), 0
for _, entry in ipairs(page) do
  local tenant, session, request_id
  for at = 1, #entry[2], 2 do
    local name, value = entry[2][at], entry[2][at + 1]
    if name == 'tenant' then
      tenant = value
    elseif name == 'session' then
      session = value
    elseif name == 'request_id' then
      request_id = value
    end
  end
  if tenant == ARGV[3] and ((session and sessions[session]) or (request_id and request_ids[request_id])) then
    gone = gone + redis.call('XDEL', KEYS[1], entry[1])
  end
end
return {#page == tonumber(ARGV[2]) and page[#page][1] or false, gone}
