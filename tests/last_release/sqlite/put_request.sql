-- $1: [[id in hex, event time, facility id, blood type, quantity, created at], …]
INSERT INTO blood_requests (id, event_time, facility_id, blood_type, quantity, created_at)
SELECT unhex(value ->> 0), value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5 FROM json_each($1) WHERE true
ON CONFLICT (id) DO UPDATE SET
    event_time = excluded.event_time, facility_id = excluded.facility_id, blood_type = excluded.blood_type, quantity = excluded.quantity, created_at = excluded.created_at
