SELECT id, facility_id FROM blood_banks WHERE id IN (SELECT unhex(value) FROM json_each($1))
