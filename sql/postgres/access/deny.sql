-- The same denial again takes the place of the one before.
-- $1 id    $2 issuer    $3 subject    $4 token id    $5 until    $6 created by
INSERT INTO denied_principals (id, issuer, subject, token_id, until_ms, created_ms, created_by)
VALUES ($1, $2, $3, $4, $5, floor(extract(epoch FROM now()) * 1000.0)::bigint, $6)
ON CONFLICT (id) DO UPDATE SET until_ms = excluded.until_ms, created_ms = excluded.created_ms, created_by = excluded.created_by
RETURNING created_ms
