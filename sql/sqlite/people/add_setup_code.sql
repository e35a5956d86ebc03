-- A code for the first account, where nobody can sign in yet. $1 hash    $2 now
INSERT INTO setup_codes (hash, created_ms)
SELECT $1, $2
WHERE NOT EXISTS (SELECT 1 FROM users) AND NOT EXISTS (SELECT 1 FROM api_keys WHERE revoked_ms IS NULL)
