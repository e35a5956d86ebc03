-- The keys, the newest first. $1 only this one; null for all
SELECT id, hash, name, role, may_read, facilities, created_ms, created_by, expires_ms, used_ms, revoked_ms, revoked_by
FROM api_keys WHERE $1 IS NULL OR id = $1 ORDER BY created_ms DESC, id
