-- $1 id    $2 revoked by    $3 now
UPDATE api_keys SET revoked_ms = $3, revoked_by = $2 WHERE id = $1 AND revoked_ms IS NULL
