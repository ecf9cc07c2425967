-- After events were written beside a session: let them live as long as it does, and tell whether it was erased meanwhile.
-- KEYS      see session_prelude.lua
-- ARGV[4]   digest of the record's user, 'all' for none
-- Reply     {when all of it was erased, when that user's part was} (unix ms | nil)
if redis.call('EXISTS', META) == 1 then
  touch()
end
return redis.call('HMGET', ERASED, 'all', ARGV[4])
