-- Begins a generation of the stream. KEYS: the stream. ARGV: the generation's number, which no
-- other generation has, and the payload of its first entry. Answers {generation, number} of the
-- last entry. That is the first entry of this generation, unless the stream already is of this
-- generation or a later one.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
    .. '.' .. string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local number = 0
if redis.call('EXISTS', KEYS[1]) == 1 then
    local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
    if last then
        local held = {}
        for i = 1, #last[2], 2 do held[last[2][i]] = last[2][i + 1] end
        local generation = tonumber(held.g)
        if generation and generation >= tonumber(ARGV[1]) then return {generation, tonumber(string.match(last[1], '^(%d+)-'))} end
    end
    local about = redis.call('XINFO', 'STREAM', KEYS[1])
    for i = 1, #about, 2 do
        if about[i] == 'last-generated-id' then number = tonumber(string.match(about[i + 1], '^(%d+)-')) end
    end
end
number = number + 1
redis.call('XADD', KEYS[1], string.format('%.0f-0', number), 'g', ARGV[1], 'r', run, 'm', ARGV[2])
redis.call('EXPIRE', KEYS[1], 86400) -- as in append.lua
return {tonumber(ARGV[1]), number}
