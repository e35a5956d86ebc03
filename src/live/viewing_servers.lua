-- Names a server as one that has viewers, until an instant. KEYS: the list of these servers. ARGV: the
-- server, the instant, the present one (both in ms), the seconds for which the list is kept.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
