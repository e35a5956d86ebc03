-- $1 id    $2 of this principal; null: whoever's    $3 ended by    $4 access version    $5 now
UPDATE sessions SET ended_ms = $5, ended_by = $3, ended_version = $4
WHERE id = $1 AND ended_ms IS NULL AND ($2 IS NULL OR principal = $2)
