-- The sessions that a provider ends. $1 issuer    $2 its session; null: any    $3 subject; null: any
-- $4 only those that are not younger than this    $5 ended by    $6 access version    $7 now
UPDATE sessions SET ended_ms = $7, ended_by = $5, ended_version = $6
WHERE issuer = $1 AND ($2 IS NULL OR provider_sid = $2) AND ($3 IS NULL OR subject = $3)
  AND created_ms <= $4 AND ended_ms IS NULL
