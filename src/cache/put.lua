-- Stores an entry, unless the one there is as good or better. KEYS: its key. ARGV: version, as of
-- (ms), payload, seconds to keep it. Answers 1 where it was stored.
local held = redis.call('HMGET', KEYS[1], 'v', 't')
local version, as_of = tonumber(held[1]), tonumber(held[2])
if version and as_of then
    local new_version, new_as_of = tonumber(ARGV[1]), tonumber(ARGV[2])
    if version > new_version or (version == new_version and as_of >= new_as_of) then return 0 end
end
redis.call('HSET', KEYS[1], 'v', ARGV[1], 't', ARGV[2], 'b', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
