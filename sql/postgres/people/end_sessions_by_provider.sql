-- The sessions that a provider ends. $1 issuer    $2 its session; null: any    $3 subject; null: any
-- $4 only those that are not younger than this    $5 ended by    $6 access version
UPDATE sessions SET ended_ms = floor(extract(epoch FROM now()) * 1000.0)::bigint, ended_by = $5, ended_version = $6
WHERE issuer = $1 AND ($2::text IS NULL OR provider_sid = $2::text) AND ($3::text IS NULL OR subject = $3::text)
  AND created_ms <= $4 AND ended_ms IS NULL
