-- $1 user    $2 ended by    $3 access version    $4 now
UPDATE sessions SET ended_ms = $4, ended_by = $2, ended_version = $3
WHERE user_name = $1 AND ended_ms IS NULL
