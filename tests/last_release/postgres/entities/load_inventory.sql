SELECT id, floor(extract(epoch FROM event_time) * 1000)::bigint AS event_time_ms, blood_bank_id, blood_type::text AS blood_type, quantity, floor(extract(epoch FROM expires_at) * 1000)::bigint AS expires_at_ms
FROM blood_inventory WHERE id = ANY ($1) ORDER BY id FOR UPDATE
