SELECT name, password_hash, role, facilities, created_ms, created_by, signed_in_ms, disabled_ms, disabled_by
FROM users ORDER BY name
