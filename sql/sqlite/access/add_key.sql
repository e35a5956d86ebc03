-- $1 id    $2 hash    $3 name    $4 role    $5 may_read    $6 facilities    $7 created by
-- $8 expires, in milliseconds since 1970    $9 now
INSERT INTO api_keys (id, hash, name, role, may_read, facilities, created_ms, created_by, expires_ms)
VALUES ($1, $2, $3, $4, $5, $6, $9, $7, $8)
RETURNING created_ms
