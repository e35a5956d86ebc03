SELECT id, floor(extract(epoch FROM event_time) * 1000)::bigint AS event_time_ms, name, timezone FROM facilities WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE
