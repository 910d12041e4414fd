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

# KEYS: change log, rows. ARGV: length of the log, entities, then for each row what must be there (nothing: no row),
# what takes its place, and its expiry. Returns the keys of those where something else was.
REPLACE = """
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'entities', ARGV[2])
local others = {}
for n = 2, #KEYS do
  local at = 3 * n - 3
  if (redis.call('GET', KEYS[n]) or '') ~= ARGV[at] then
    others[#others + 1] = KEYS[n]
  elseif ARGV[at + 2] == '' then
    redis.call('SET', KEYS[n], ARGV[at + 1])
  else
    redis.call('SET', KEYS[n], ARGV[at + 1], 'PXAT', ARGV[at + 2])
  end
end
return others
"""

# KEYS: change log, rows. ARGV: length of the log, entities, then for each row what must be there (nothing: anything).
# Returns how many rows were removed.
DELETE = """
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'entities', ARGV[2])
local num_removed = 0
for n = 2, #KEYS do
  if ARGV[n + 1] == '' or redis.call('GET', KEYS[n]) == ARGV[n + 1] then
    num_removed = num_removed + redis.call('UNLINK', KEYS[n])
  end
end
return num_removed
"""
