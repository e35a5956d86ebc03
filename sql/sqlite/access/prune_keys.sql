-- Keys that ended long ago. $1 before this instant, in milliseconds since 1970
DELETE FROM api_keys WHERE min(ifnull(revoked_ms, expires_ms), ifnull(expires_ms, revoked_ms)) < $1
