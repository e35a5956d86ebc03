INSERT INTO facilities (id, event_time, name, timezone)
SELECT id, to_timestamp(event_time_ms::float8 / 1000.0::float8), name, timezone
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[]) AS n (id, event_time_ms, name, timezone)
ON CONFLICT (id) DO UPDATE SET event_time = excluded.event_time, name = excluded.name, timezone = excluded.timezone
RETURNING id, xmax = 0 AS inserted
