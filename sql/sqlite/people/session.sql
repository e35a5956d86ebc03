-- $1 id
SELECT id, hash, principal, name, role, facilities, user_name, issuer, subject, provider_sid,
       created_ms, expires_ms, used_ms, ended_ms, ended_by, address, agent
FROM sessions WHERE id = $1
