INSERT INTO blood_inventory (id, event_time, blood_bank_id, blood_type, quantity, expires_at)
SELECT id, to_timestamp(event_time_ms::float8 / 1000.0::float8), blood_bank_id, blood_type, quantity, to_timestamp(expires_at_ms::float8 / 1000.0::float8)
FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::integer[], $6::bigint[])
    AS n (id, event_time_ms, blood_bank_id, blood_type, quantity, expires_at_ms)
ON CONFLICT (id) DO UPDATE SET event_time = excluded.event_time, blood_bank_id = excluded.blood_bank_id, blood_type = excluded.blood_type,
    quantity = excluded.quantity, expires_at = excluded.expires_at
RETURNING id, xmax = 0 AS inserted
