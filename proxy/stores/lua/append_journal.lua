-- Append events to the journal; atomic.
-- KEYS[1]  journal: stream
-- ARGV[1]  JSON array of events, each an array: name, value, name, value, … (one argument: packing thousands of them costs the caller most)
-- Reply    how many there were
local events = cjson.decode(ARGV[1])
for _, event in ipairs(events) do
  redis.call('XADD', KEYS[1], '*', unpack(event))
end
return #events
