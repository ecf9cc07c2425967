-- The sessions that are on all of some lists, the one written to last first.
-- KEYS      see session_index_prelude.lua
-- ARGV[1]   how many at most
-- ARGV[2,3] begin after this one: its score (unix ms) and name; '+inf' and '' for the beginning
-- ARGV[4…]  active, user:<user>, agent:<agent>; scores are those of the first
-- Reply     {session, score, …}
prune(200)
local limit, found, offset = 2 * tonumber(ARGV[1]), {}, 0

local function is_wanted(session, score)
  if score == ARGV[2] and session >= ARGV[3] then -- of one score the names go backwards
    return false
  end
  for at = 5, #ARGV do
    if not redis.call('ZSCORE', named(ARGV[at]), session) then
      return false
    end
  end
  return true
end

repeat
  local page = redis.call('ZREVRANGEBYSCORE', named(ARGV[4]), ARGV[2], '-inf', 'WITHSCORES', 'LIMIT', offset, 100)
  for at = 1, #page, 2 do
    if #found < limit and is_wanted(page[at], page[at + 1]) then
      found[#found + 1] = page[at]
      found[#found + 1] = page[at + 1]
    end
  end
  offset = offset + #page / 2
until #found >= limit or #page == 0
return found
