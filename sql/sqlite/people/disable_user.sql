-- $1 name    $2 disabled by    $3 now
UPDATE users SET disabled_ms = $3, disabled_by = $2 WHERE name = $1 AND disabled_ms IS NULL
