SELECT id, event_time, blood_bank_id, blood_type, quantity, expires_at FROM blood_inventory WHERE id IN (SELECT unhex(value) FROM json_each($1))
