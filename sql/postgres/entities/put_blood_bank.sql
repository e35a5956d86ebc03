INSERT INTO blood_banks (id, event_time, facility_id, name)
SELECT id, to_timestamp(event_time_ms::float8 / 1000.0::float8), facility_id, name
FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[]) AS n (id, event_time_ms, facility_id, name)
ON CONFLICT (id) DO UPDATE SET event_time = excluded.event_time, facility_id = excluded.facility_id, name = excluded.name
RETURNING id, xmax = 0 AS inserted
