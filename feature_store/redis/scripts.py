"""What runs on the server: each script changes some rows of one bucket and logs them, in one atomic step.

The log comes first: should the server refuse a later command, readers look at rows that did not change, and none misses
one that did.
"""

from __future__ import annotations

# KEYS: hash of schemas. ARGV: view, hash of the schema, the schema, whether it takes the place of another.
REGISTER = """
redis.call('HSET', KEYS[1], ARGV[1] .. '/' .. ARGV[2], ARGV[3])
redis.call(ARGV[4] == '1' and 'HSET' or 'HSETNX', KEYS[1], ARGV[1], ARGV[2])
return redis.call('HGET', KEYS[1], ARGV[1])
"""

# KEYS: change log, rows. ARGV: length of the log, entities, expiry (unix milliseconds, or nothing), packed rows.
WRITE = """
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'entities', ARGV[2])
for n = 2, #KEYS do
  if ARGV[3] == '' then
    redis.call('SET', KEYS[n], ARGV[n + 2])
  else
    redis.call('SET', KEYS[n], ARGV[n + 2], 'PXAT', ARGV[3])
  end
end
"""

# KEYS: change log, rows. ARGV: length of the log, entities. Returns how many rows there were.
DELETE = """
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'entities', ARGV[2])
local deleted = 0
for n = 2, #KEYS do
  deleted = deleted + redis.call('UNLINK', KEYS[n])
end
return deleted
"""
