-- Only rows that differ. If no mark of the row is visible in this snapshot and no expiry is due,
-- nothing explains the difference: a change has left no mark.
SELECT facility_id, date::text AS date, old_version IS NOT NULL AS stored, old_stock, old_transferred, old_requests,
       total_stock, total_transferred, total_requests, figures_differ, by_difference,
       coalesce(next_expires_at < old_next_expires_at, next_expires_at IS NOT NULL) AS expires_too_late, floor(extract(epoch FROM now()) * 1000.0)::bigint AS at_ms,
       coalesce(old_next_expires_at <= statement_timestamp(), false)
       OR facility_id IN (SELECT m.facility_id FROM summary_marks m WHERE m.facility_id IS NOT NULL)
       OR facility_id IN (SELECT b.facility_id FROM summary_marks m JOIN blood_banks b ON b.id = m.blood_bank_id)
       OR EXISTS (SELECT 1 FROM summary_marks m WHERE m.facility_id IS NULL) OR EXISTS (SELECT 1 FROM noticed_rows) AS explained
FROM compared
WHERE figures_differ OR (old_version IS NOT NULL AND (bounds_differ OR next_expires_at IS DISTINCT FROM old_next_expires_at))
