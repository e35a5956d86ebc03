-- $1 id    $2 of this principal; null: whoever's    $3 ended by    $4 access version
UPDATE sessions SET ended_ms = floor(extract(epoch FROM now()) * 1000.0)::bigint, ended_by = $3, ended_version = $4
WHERE id = $1 AND ended_ms IS NULL AND ($2::text IS NULL OR principal = $2::text)
