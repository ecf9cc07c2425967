-- Find the record of a key by its hash, together with the version that it belongs to.
-- KEYS[1]  records: hash, id -> JSON
-- KEYS[2]  hashes: hash, hash of a key -> id
-- KEYS[3]  version: string
-- ARGV[1]  hash of the key
-- Reply    {version or '', record or nil}
local version = redis.call('GET', KEYS[3]) or ''
local id = redis.call('HGET', KEYS[2], ARGV[1])
return {version, id and redis.call('HGET', KEYS[1], id)}
