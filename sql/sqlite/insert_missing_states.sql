INSERT INTO facility_state (facility_id) SELECT unhex(value) FROM json_each($1) WHERE true ON CONFLICT (facility_id) DO NOTHING
