SELECT id, floor(extract(epoch FROM event_time) * 1000)::bigint AS event_time_ms, facility_id, blood_type::text AS blood_type, quantity, floor(extract(epoch FROM created_at) * 1000)::bigint AS created_at_ms
FROM blood_requests WHERE id = ANY ($1) ORDER BY id FOR UPDATE
