-- Sessions that ended long ago. $1 before this instant, in milliseconds since 1970
DELETE FROM sessions WHERE least(ended_ms, expires_ms) < $1
