-- Keys that ended long ago. $1 before this instant, in milliseconds since 1970
DELETE FROM api_keys WHERE least(revoked_ms, expires_ms) < $1
