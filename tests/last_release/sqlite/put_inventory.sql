-- $1: [[id in hex, event time, blood bank id, blood type, quantity, expires at], …]
INSERT INTO blood_inventory (id, event_time, blood_bank_id, blood_type, quantity, expires_at)
SELECT unhex(value ->> 0), value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5 FROM json_each($1) WHERE true
ON CONFLICT (id) DO UPDATE SET
    event_time = excluded.event_time, blood_bank_id = excluded.blood_bank_id, blood_type = excluded.blood_type, quantity = excluded.quantity, expires_at = excluded.expires_at
