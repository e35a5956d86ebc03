SELECT id, floor(extract(epoch FROM event_time) * 1000)::bigint AS event_time_ms FROM tombstones WHERE kind = $1 AND id = ANY ($2)
