INSERT INTO facility_state (facility_id) SELECT id FROM pg_catalog.unnest($1::uuid[]) AS id ORDER BY id ON CONFLICT DO NOTHING
