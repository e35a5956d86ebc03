SELECT id, event_time, facility_id, name FROM blood_banks WHERE id IN (SELECT unhex(value) FROM json_each($1))
