INSERT INTO summary_marks (kind, facility_id, first_at, last_at, blood_bank_id)
SELECT kind, facility_id, to_timestamp(first_ms::float8 / 1000.0::float8), to_timestamp(last_ms::float8 / 1000.0::float8), blood_bank_id
FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[], $5::uuid[]) AS m (kind, facility_id, first_ms, last_ms, blood_bank_id)
RETURNING id, kind, facility_id, blood_bank_id, floor(extract(epoch FROM first_at) * 1000.0)::bigint AS first_ms, ceil(extract(epoch FROM last_at) * 1000.0)::bigint AS last_ms
