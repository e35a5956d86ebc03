-- $1 id    $2 revoked by
UPDATE api_keys SET revoked_ms = floor(extract(epoch FROM now()) * 1000.0)::bigint, revoked_by = $2
WHERE id = $1 AND revoked_ms IS NULL
