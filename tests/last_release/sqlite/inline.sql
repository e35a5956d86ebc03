SELECT EXISTS (SELECT 1 FROM facility_state)
SELECT min(next_expires_at) FROM dashboard_daily_summary WHERE next_expires_at IS NOT NULL
SELECT id, kind, facility_id, first_at, last_at FROM summary_marks ORDER BY id LIMIT $1
SELECT facility_id, date, id, version FROM outbox ORDER BY id LIMIT $1
SELECT EXISTS (SELECT 1 FROM dashboard_daily_summary WHERE next_expires_at <= $1)
DELETE FROM outbox WHERE id IN (SELECT value FROM json_each($1))
DELETE FROM tombstones WHERE event_time < $1
DELETE FROM job_runs WHERE state <> 'running' AND started_at < $1
SELECT ifnull(max(id), 0) FROM summary_marks
DELETE FROM summary_marks WHERE id > $1
SELECT EXISTS (SELECT 1 FROM facilities WHERE id IN (SELECT unhex(value) FROM json_each($1)))
SELECT EXISTS (SELECT 1 FROM blood_banks WHERE id IN (SELECT unhex(value) FROM json_each($1)))
SELECT EXISTS (SELECT 1 FROM blood_inventory WHERE id IN (SELECT unhex(value) FROM json_each($1)))
SELECT EXISTS (SELECT 1 FROM blood_distributions WHERE id IN (SELECT unhex(value) FROM json_each($1)))
SELECT EXISTS (SELECT 1 FROM blood_requests WHERE id IN (SELECT unhex(value) FROM json_each($1)))
DELETE FROM facilities WHERE id IN (SELECT unhex(value) FROM json_each($1))
DELETE FROM blood_banks WHERE id IN (SELECT unhex(value) FROM json_each($1))
DELETE FROM blood_inventory WHERE id IN (SELECT unhex(value) FROM json_each($1))
DELETE FROM blood_distributions WHERE id IN (SELECT unhex(value) FROM json_each($1))
DELETE FROM blood_requests WHERE id IN (SELECT unhex(value) FROM json_each($1))
