INSERT INTO blood_requests (id, event_time, facility_id, blood_type, quantity, created_at)
SELECT id, to_timestamp(event_time_ms::float8 / 1000.0::float8), facility_id, blood_type, quantity, to_timestamp(created_at_ms::float8 / 1000.0::float8)
FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::integer[], $6::bigint[])
    AS n (id, event_time_ms, facility_id, blood_type, quantity, created_at_ms)
ON CONFLICT (id) DO UPDATE SET event_time = excluded.event_time, facility_id = excluded.facility_id, blood_type = excluded.blood_type,
    quantity = excluded.quantity, created_at = excluded.created_at
RETURNING id, xmax = 0 AS inserted
