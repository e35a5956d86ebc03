-- Puts how many viewers a server has of facilities, as far as that has changed, and keeps it all for
-- some seconds more. KEYS: the hash of the server. ARGV: the seconds; the number of the last write, 0
-- where this one begins anew; the number of this one; then each facility with its viewers. Answers 0,
-- and changes nothing, where the last write is not there any more.
if ARGV[2] == '0' then
    redis.call('DEL', KEYS[1])
elseif redis.call('HGET', KEYS[1], 'write') ~= ARGV[2] then
    return 0
end
redis.call('HSET', KEYS[1], 'write', ARGV[3])
for i = 4, #ARGV, 2 do
    if ARGV[i + 1] == '0' then
        redis.call('HDEL', KEYS[1], ARGV[i])
    else
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    end
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
