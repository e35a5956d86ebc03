SELECT id, facility_id, floor(extract(epoch FROM at) * 1000)::bigint AS at_ms FROM tombstones
WHERE kind = $1 AND id = ANY ($2) AND facility_id IS NOT NULL
