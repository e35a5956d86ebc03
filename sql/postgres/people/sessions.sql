-- The sessions that have not ended, those that were used last first. $1 principal; null: everybody's
-- $2 now    $3 used after    $4 the most
SELECT id, hash, principal, name, role, facilities, user_name, issuer, subject, provider_sid,
       created_ms, expires_ms, used_ms, ended_ms, ended_by, address, agent
FROM sessions
WHERE ended_ms IS NULL AND ($1::text IS NULL OR principal = $1::text) AND expires_ms > $2 AND used_ms > $3
ORDER BY used_ms DESC, id LIMIT $4
