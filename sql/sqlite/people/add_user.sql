-- $1 name    $2 password hash    $3 role    $4 facilities    $5 created by    $6 now
INSERT INTO users (name, password_hash, role, facilities, created_ms, created_by)
VALUES ($1, $2, $3, $4, $6, $5)
ON CONFLICT (name) DO NOTHING
