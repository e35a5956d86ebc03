DELETE FROM summary_marks WHERE id IN (SELECT value FROM json_each($1)) RETURNING id, kind, facility_id, first_at, last_at
