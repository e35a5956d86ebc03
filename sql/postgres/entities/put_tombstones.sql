INSERT INTO tombstones (kind, id, event_time, facility_id, at)
SELECT $1, id, to_timestamp(event_time_ms::float8 / 1000.0::float8), facility_id, to_timestamp(at_ms::float8 / 1000.0::float8)
FROM unnest($2::uuid[], $3::bigint[], $4::uuid[], $5::bigint[]) AS n (id, event_time_ms, facility_id, at_ms)
ON CONFLICT (kind, id) DO UPDATE SET event_time = excluded.event_time, facility_id = excluded.facility_id, at = excluded.at
