DELETE FROM summary_marks WHERE id = ANY ($1)
RETURNING id, kind, facility_id, blood_bank_id, floor(extract(epoch FROM first_at) * 1000)::bigint AS first_ms, ceil(extract(epoch FROM last_at) * 1000)::bigint AS last_ms
