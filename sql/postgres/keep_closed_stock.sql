-- Keeps the stock of closed days of mapped facilities that are removed: nothing else knows it. The
-- caller holds their locks.
INSERT INTO closed_stock (facility_id, date, total_stock, by_blood_type)
SELECT facility_id, date, total_stock, by_blood_type FROM dashboard_daily_summary
WHERE facility_id = ANY ($1) AND total_stock IS NOT NULL AND day_end <= statement_timestamp()
ON CONFLICT (facility_id, date) DO UPDATE SET total_stock = excluded.total_stock, by_blood_type = excluded.by_blood_type
