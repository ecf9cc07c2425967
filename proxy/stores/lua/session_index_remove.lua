-- Take sessions out of all lists, unless they were written to since.
-- KEYS      see session_index_prelude.lua
-- ARGV[1]   a session listed as written to after this moment stays (unix ms)
-- ARGV[2…]  sessions
-- Reply     how many were taken out
local removed = 0
for at = 2, #ARGV do
  local active = redis.call('ZSCORE', named('active'), ARGV[at])
  if not active or tonumber(active) <= tonumber(ARGV[1]) then
    removed = removed + unlist(ARGV[at])
  end
end
return removed
