-- Appends payloads to the stream and numbers them on from its last entry. KEYS: the stream. ARGV:
-- the number of entries to keep, the least generation, payload... Answers {generation, number} of
-- the last payload. Answers nil, and appends nothing, where messages may have been lost: the stream
-- has no last entry; or another run of a server wrote the last entry, and may have written more
-- that this server never got; or the stream is of an earlier generation, which the database has
-- left (of two primaries this is the old one).
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not last then return false end
local held = {}
for i = 1, #last[2], 2 do held[last[2][i]] = last[2][i + 1] end
-- The run: the process, and since when it has been the primary. A server that was a replica of
-- another Redis for a while may have got less than that one had.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
    .. '.' .. string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local generation = tonumber(held.g)
if not generation or held.r ~= run or generation < tonumber(ARGV[2]) then return false end

-- The last number ever given, also where that entry was deleted; the reader then sees that one is
-- missing.
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
redis.call('EXPIRE', KEYS[1], 86400) -- a stream without appends for a day is of an epoch that is over
return {generation, number}
