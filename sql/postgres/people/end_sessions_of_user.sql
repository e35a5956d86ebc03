-- $1 user    $2 ended by    $3 access version
UPDATE sessions SET ended_ms = floor(extract(epoch FROM now()) * 1000.0)::bigint, ended_by = $2, ended_version = $3
WHERE user_name = $1 AND ended_ms IS NULL
