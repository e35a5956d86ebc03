-- $1 name    $2 password hash    $3 role    $4 facilities    $5 created by
INSERT INTO users (name, password_hash, role, facilities, created_ms, created_by)
VALUES ($1, $2, $3, $4, floor(extract(epoch FROM now()) * 1000.0)::bigint, $5)
ON CONFLICT (name) DO NOTHING
