INSERT INTO summary_marks (kind, facility_id, first_at, last_at)
SELECT kind, facility_id, to_timestamp(first_ms / 1000.0::float8), to_timestamp(last_ms / 1000.0::float8)
FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[]) AS m (kind, facility_id, first_ms, last_ms)
