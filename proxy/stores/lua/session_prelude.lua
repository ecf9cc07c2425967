-- No operation of its own: what the session_*.lua scripts about one session share; put before each of them.
-- KEYS[1…9] turns: stream, events: stream, meta: hash, data: hash, writes: hash, users: set, steps: stream, parts: hash, recording: hash
-- KEYS[10]  requests: sorted set, what the session's requests left elsewhere, by when that is gone by itself (unix ms)
-- KEYS[11]  erased: hash, 'all' -> when all of the session was erased, <digest of a user> -> when that user's part was (unix ms)
-- ARGV[1…3] tenant, session, seconds it is kept unless it says otherwise
local TURNS, EVENTS, META, DATA, WRITES, USERS = unpack(KEYS)
local REQUESTS, ERASED = KEYS[10], KEYS[11]
local LIVING = 9
local WRITES_KEPT = 1000 -- idempotency keys and request ids remembered: a retry comes within seconds
local ERASED_KEPT_S = 86400 -- longer than a request, and its record in a queue, can be under way
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local now_s = string.format('%d.%03d', time[1], math.floor(time[2] / 1000))

-- The session is used: all that belongs to it lives on together. Returns the seconds it is kept.
local function touch()
  local ttl_s = tonumber(redis.call('HGET', META, 'ttl_s') or ARGV[3])
  for at = 1, LIVING do
    redis.call('PEXPIREAT', KEYS[at], now_ms + ttl_s * 1000)
  end
  return ttl_s
end

local function field(fields, name)
  for at = 1, #fields, 2 do
    if fields[at] == name then
      return fields[at + 1]
    end
  end
end

local function count(turns, tokens, bytes)
  redis.call('HINCRBY', META, 'turns', turns)
  redis.call('HINCRBY', META, 'tokens', tokens)
  redis.call('HINCRBY', META, 'bytes', bytes)
end

local function begin()
  redis.call('HSETNX', META, 'created_at', now_s)
  redis.call('HSET', META, 'last_active_at', now_s, 'tenant', ARGV[1], 'session', ARGV[2])
end

-- Returns the ids of what was appended. messages: role, message, tokens, role, message, tokens, … from ARGV[first] on.
local function say(first, request_id, agent, user, at)
  local ids, tokens, bytes = {}, 0, 0
  for i = first, #ARGV, 3 do
    ids[#ids + 1] = redis.call('XADD', TURNS, '*', 'role', ARGV[i], 'message', ARGV[i + 1], 'tokens', ARGV[i + 2],
      'request_id', request_id, 'agent', agent, 'user', user, 'at', at)
    tokens, bytes = tokens + tonumber(ARGV[i + 2]), bytes + #ARGV[i + 1]
  end
  if #ids > 0 then
    count(#ids, tokens, bytes)
  end
  if user ~= '' then
    redis.call('SADD', USERS, user)
    redis.call('HSETNX', META, 'user', user)
  end
  return ids
end

-- What is too much goes, the oldest first; the newest turn stays.
local function trim(max_turns, max_bytes)
  local has = redis.call('HMGET', META, 'turns', 'bytes')
  local turns, bytes = tonumber(has[1] or 0), tonumber(has[2] or 0)
  local gone, tokens, freed = 0, 0, 0
  while turns - gone > 1 and (turns - gone > max_turns or bytes - freed > max_bytes) do
    local oldest = redis.call('XRANGE', TURNS, '-', '+', 'COUNT', 1)[1]
    if not oldest then
      break -- the stream was evicted: nothing to count
    end
    tokens, gone = tokens + tonumber(field(oldest[2], 'tokens') or 0), gone + 1
    freed = freed + #field(oldest[2], 'message')
    redis.call('XDEL', TURNS, oldest[1])
  end
  if gone > 0 then
    count(-gone, -tokens, -freed)
    redis.call('HINCRBY', META, 'trimmed', gone)
  end
end

local function remember(key, value)
  if redis.call('HLEN', WRITES) >= WRITES_KEPT then -- forget the older half: seldom, and not a sort per write
    local all, by_age = redis.call('HGETALL', WRITES), {}
    for at = 1, #all, 2 do
      by_age[#by_age + 1] = {tonumber(string.match(all[at + 1], '^%d+')), all[at]}
    end
    table.sort(by_age, function(a, b) return a[1] < b[1] end)
    for at = 1, WRITES_KEPT / 2 do
      redis.call('HDEL', WRITES, by_age[at][2])
    end
  end
  redis.call('HSET', WRITES, key, now_ms .. ' ' .. value)
end

local function mark(field_of_erased)
  redis.call('HSET', ERASED, field_of_erased, now_ms)
  redis.call('EXPIRE', ERASED, ERASED_KEPT_S)
end

local function wipe()
  local counts = {redis.call('XLEN', TURNS), redis.call('XLEN', EVENTS), redis.call('EXISTS', DATA), redis.call('EXISTS', META),
    redis.call('XLEN', KEYS[7])}
  redis.call('UNLINK', unpack(KEYS, 1, LIVING))
  return counts
end

-- Remove the turns and events of some requests or of a user; returns how many of each.
local function drop(request_ids, user)
  local counts = {}
  for position, stream in ipairs({TURNS, EVENTS}) do
    local after, gone, tokens, bytes = '-', 0, 0, 0
    repeat
      local page = redis.call('XRANGE', stream, after, '+', 'COUNT', 200)
      for _, entry in ipairs(page) do
        after = '(' .. entry[1]
        local of_request = field(entry[2], 'request_id')
        if (of_request and of_request ~= '' and request_ids[of_request]) or (user ~= '' and field(entry[2], 'user') == user) then
          gone = gone + redis.call('XDEL', stream, entry[1])
          tokens, bytes = tokens + tonumber(field(entry[2], 'tokens') or 0), bytes + #(field(entry[2], 'message') or '')
        end
      end
    until #page < 200
    counts[position] = gone
    if stream == TURNS and gone > 0 and redis.call('EXISTS', META) == 1 then
      count(-gone, -tokens, -bytes)
    end
  end
  return counts
end
