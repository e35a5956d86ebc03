-- Summaries of closed days with all eight blood types: :days days from 2020-01-01 on for each of
-- :facilities facilities.
SET synchronous_commit = off;
INSERT INTO dashboard_daily_summary (facility_id, date, total_stock, total_transferred, total_requests, by_blood_type, as_of, updated_at, version)
SELECT ('00000001-0000-4000-8000-' || lpad(to_hex(facility), 12, '0'))::uuid, '2020-01-01'::date + day, 400, 16, 8,
       '{"O+": {"stock": 50, "transferred": 2, "requests": 1}, "A+": {"stock": 50, "transferred": 2, "requests": 1}, "B+": {"stock": 50, "transferred": 2, "requests": 1},
         "O-": {"stock": 50, "transferred": 2, "requests": 1}, "AB+": {"stock": 50, "transferred": 2, "requests": 1}, "A-": {"stock": 50, "transferred": 2, "requests": 1},
         "B-": {"stock": 50, "transferred": 2, "requests": 1}, "AB-": {"stock": 50, "transferred": 2, "requests": 1}}',
       now(), now(), day + 1
FROM generate_series(1, :facilities) AS facility, generate_series(0, :days - 1) AS day;
