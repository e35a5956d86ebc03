-- A code for the first account, where nobody can sign in yet. $1 hash
INSERT INTO setup_codes (hash, created_ms)
SELECT $1, floor(extract(epoch FROM now()) * 1000.0)::bigint
WHERE NOT EXISTS (SELECT FROM users) AND NOT EXISTS (SELECT FROM api_keys WHERE revoked_ms IS NULL)
