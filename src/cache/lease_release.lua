-- Releases a lease, unless it has run out and another replica has it by now. KEYS: the lease. ARGV:
-- the holder's token. Answers 1 where the lease was the holder's.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
