-- Gives a lease back, unless it has run out and is another's by now. KEYS: the lease. ARGV: our token. Answers 1 where it was ours.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
