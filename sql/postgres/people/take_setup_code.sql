-- Takes a code away, where nobody can sign in yet. $1 hash
DELETE FROM setup_codes
WHERE hash = $1
  AND NOT EXISTS (SELECT FROM users) AND NOT EXISTS (SELECT FROM api_keys WHERE revoked_ms IS NULL)
