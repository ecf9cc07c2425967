-- How far Redis has written its append-only file. Reads only.
-- Reply  {run_id, 1 if there is such a file, bytes written to it, bytes that wait to be}
local server = redis.call('INFO', 'server')
local persistence = redis.call('INFO', 'persistence')
return {
  string.match(server, 'run_id:(%x+)'),
  tonumber(string.match(persistence, 'aof_enabled:(%d)')),
  tonumber(string.match(persistence, 'aof_current_size:(%d+)') or 0),
  tonumber(string.match(persistence, 'aof_buffer_length:(%d+)') or 0),
}
