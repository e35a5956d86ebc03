SELECT id, hash, name, role, may_read, facilities, created_ms, created_by, expires_ms, used_ms, revoked_ms, revoked_by
FROM api_keys ORDER BY created_ms DESC, id
