"""The steps that Redis must not divide, in Lua. All keys of one script lie in one hash slot.

Sent whole each time: after a failover no server has to be told of them first.
"""

# KEYS: value. ARGV: now, row, expiry in ms (0 for never). A row that is not ours counts as present: to overwrite it
# would spend what somebody else may have spent.
PUT_IF_ABSENT = """
local row = redis.call('GET', KEYS[1])
if row then
    local expires_at = tonumber(string.match(row, '^(%d+)[^\\n]*\\n'))
    if not expires_at or expires_at > tonumber(ARGV[1]) then return 0 end
end
if ARGV[3] == '0' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3]) end
return 1
"""

# What an owner has: ids by expiry, kept as long as the last of them. What Redis has removed by now goes from it, too.
_OWN = """
local function own(key, id, expires_at, expiry_ms)
    redis.call('ZREMRANGEBYSCORE', key, '-inf', redis.call('TIME')[1] - (expiry_ms / 1000 - expires_at))
    redis.call('ZADD', key, expires_at, id)
    local last = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2]
    redis.call('PEXPIREAT', key, string.format('%.0f', expiry_ms + (last - expires_at) * 1000))
end
"""

# KEYS: value, what its owner has. ARGV: row, expiry in ms, id, expiry.
PUT_OWNED = f"""{_OWN}
redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2])
own(KEYS[2], ARGV[3], ARGV[4], ARGV[2])
return 1
"""

# KEYS: what an owner has, values. ARGV: their ids. Forgets those of which nothing is left.
DISOWN = """
for n, id in ipairs(ARGV) do
    if not redis.call('GET', KEYS[n + 1]) then redis.call('ZREM', KEYS[1], id) end
end
return 1
"""

# KEYS: value, and what its owner has if it has one. ARGV: now, the old value, row, expiry in ms (0: never), id, expiry.
REPLACE = f"""{_OWN}
local expires_at, value = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+)[^\\n]*\\n(.*)$')
if not expires_at or tonumber(expires_at) <= tonumber(ARGV[1]) or value ~= ARGV[2] then return 0 end
if ARGV[4] == '0' then redis.call('SET', KEYS[1], ARGV[3])
else redis.call('SET', KEYS[1], ARGV[3], 'PXAT', ARGV[4]) end
if KEYS[2] then own(KEYS[2], ARGV[5], ARGV[6], ARGV[4]) end
return 1
"""

# KEYS: counter. ARGV: now, end of a window that begins now, its expiry in ms.
COUNT = """
local ends_at, count = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+)$')
if ends_at and tonumber(ends_at) > tonumber(ARGV[1]) then
    redis.call('SET', KEYS[1], ends_at .. ' ' .. string.format('%d', count + 1), 'KEEPTTL')
    return count + 1
end
redis.call('SET', KEYS[1], ARGV[2] .. ' 1', 'PXAT', ARGV[3])
return 1
"""

# KEYS: value, sequence, tombstones, when they are forgotten. ARGV: kind, id, remembered until.
# The sequence follows the server's clock in microseconds: a server that took over goes on above what its predecessor
# gave out, although it may not have heard of the last ones. The tombstone is written first: out of memory, nothing is.
END = """
local time = redis.call('TIME')
local last = tonumber(redis.call('GET', KEYS[2]) or '0') or 0
local sequence = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
local member = sequence .. '\\n' .. ARGV[1] .. '\\n' .. ARGV[2]
redis.call('ZADD', KEYS[3], sequence, member)
redis.call('ZADD', KEYS[4], ARGV[3], member)
redis.call('SET', KEYS[2], sequence)
redis.call('DEL', KEYS[1])
return sequence
"""

# KEYS: tombstones, when they are forgotten. ARGV: now, at most so many.
SWEEP = """
local members = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
if #members > 0 then
    redis.call('ZREM', KEYS[1], unpack(members))
    redis.call('ZREM', KEYS[2], unpack(members))
end
return #members
"""
