-- Notes a sign-in, as long as the account is as it was when the password was verified. Its row stays locked until the session is there.
-- $1 name    $2 password hash
UPDATE users SET signed_in_ms = floor(extract(epoch FROM now()) * 1000.0)::bigint
WHERE name = $1 AND password_hash = $2 AND disabled_ms IS NULL
