-- $1 name    $2 disabled by
UPDATE users SET disabled_ms = floor(extract(epoch FROM now()) * 1000.0)::bigint, disabled_by = $2
WHERE name = $1 AND disabled_ms IS NULL
