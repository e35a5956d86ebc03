-- The marks, and whether their bank is in another facility now, as in drain_snapshot.sql. $1 bounds
-- the list.
SELECT mark.id, mark.kind, mark.facility_id, floor(extract(epoch FROM mark.first_at) * 1000.0)::bigint AS first_ms,
    ceil(extract(epoch FROM mark.last_at) * 1000.0)::bigint AS last_ms, mark.blood_bank_id, bank.facility_id AS now_in,
    mark.blood_bank_id IS NOT NULL
        AND CASE WHEN bank.id IS NULL THEN mark.facility_id IS NULL ELSE bank.facility_id IS DISTINCT FROM mark.facility_id END AS is_stray
FROM (SELECT * FROM summary_marks ORDER BY id LIMIT $1) AS mark LEFT JOIN blood_banks bank ON bank.id = mark.blood_bank_id
ORDER BY mark.id
