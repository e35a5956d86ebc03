SELECT id, facility_id, CASE WHEN at IS NOT NULL THEN floor(extract(epoch FROM least(greatest(at, '4713-01-01 BC+00'), '294276-01-01+00')) * 1000.0)::bigint END AS at_ms FROM tombstones
WHERE kind = $1 AND id = ANY ($2) AND facility_id IS NOT NULL
