-- Notes a sign-in, as long as the account is as it was when the password was verified.
-- $1 name    $2 password hash    $3 now
UPDATE users SET signed_in_ms = $3 WHERE name = $1 AND password_hash = $2 AND disabled_ms IS NULL
