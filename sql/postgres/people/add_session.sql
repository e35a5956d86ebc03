-- Stores no session of whom a denial is about.
-- $1 id    $2 hash    $3 principal    $4 name    $5 role    $6 facilities    $7 user    $8 issuer    $9 subject
-- $10 the provider's session    $11 expires, in milliseconds since 1970    $12 address    $13 program
INSERT INTO sessions (id, hash, principal, name, role, facilities, user_name, issuer, subject, provider_sid,
                      created_ms, expires_ms, used_ms, address, agent)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, at.now_ms, $11, at.now_ms, $12, $13
FROM (SELECT floor(extract(epoch FROM now()) * 1000.0)::bigint AS now_ms) AS at
WHERE NOT EXISTS (SELECT 1 FROM denied_principals d WHERE d.issuer = $8 AND d.subject = $9
                  AND d.token_id IS NULL AND (d.until_ms IS NULL OR d.until_ms > at.now_ms))
