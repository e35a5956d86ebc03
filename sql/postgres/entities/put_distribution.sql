INSERT INTO blood_distributions (id, event_time, dispatched_to_id, blood_type, quantity, date_delivered)
SELECT id, to_timestamp(event_time_ms::float8 / 1000.0::float8), dispatched_to_id, blood_type, quantity, to_timestamp(date_delivered_ms::float8 / 1000.0::float8)
FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::integer[], $6::bigint[])
    AS n (id, event_time_ms, dispatched_to_id, blood_type, quantity, date_delivered_ms)
ON CONFLICT (id) DO UPDATE SET event_time = excluded.event_time, dispatched_to_id = excluded.dispatched_to_id, blood_type = excluded.blood_type,
    quantity = excluded.quantity, date_delivered = excluded.date_delivered
RETURNING id, xmax = 0 AS inserted
