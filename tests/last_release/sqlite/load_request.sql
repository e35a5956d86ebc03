SELECT id, event_time, facility_id, blood_type, quantity, created_at FROM blood_requests WHERE id IN (SELECT unhex(value) FROM json_each($1))
