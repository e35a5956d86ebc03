SELECT id, floor(extract(epoch FROM event_time) * 1000)::bigint AS event_time_ms, dispatched_to_id, blood_type::text AS blood_type, quantity, floor(extract(epoch FROM date_delivered) * 1000)::bigint AS date_delivered_ms
FROM blood_distributions WHERE id = ANY ($1) ORDER BY id FOR UPDATE
