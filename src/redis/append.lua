-- Appends payloads to the stream, numbered on from its last entry. KEYS: the stream. ARGV: entries to keep, the least generation, payload...
-- Answers {generation, number} of the last one; or nil, with nothing appended, where the past of the stream cannot be vouched for:
-- there is no last entry, or another run of a server wrote it, and may have written more that this one never got; or it is of an earlier
-- generation, which the database has left: of two primaries this is the old one.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not last then return false end
local held = {}
for i = 1, #last[2], 2 do held[last[2][i]] = last[2][i + 1] end
-- A process, and its reign: one that was a replica for a while may have been given less than it had.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
    .. '.' .. string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local generation = tonumber(held.g)
if not generation or held.r ~= run or generation < tonumber(ARGV[2]) then return false end

-- The last number ever given, be it of an entry that was deleted: its reader then sees that one is missing.
local number
local about = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then number = tonumber(string.match(about[i + 1], '^(%d+)-')) end
end
for i = 3, #ARGV do
    number = number + 1
    redis.call('XADD', KEYS[1], string.format('%.0f-0', number), 'g', held.g, 'r', run, 'm', ARGV[i])
end
redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[1])
redis.call('EXPIRE', KEYS[1], 86400) -- a stream to which nobody appends is of an epoch that is over
return {generation, number}
