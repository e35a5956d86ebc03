SELECT id FROM (SELECT unhex(value) AS id FROM json_each($1)) AS facility
WHERE EXISTS (SELECT 1 FROM blood_banks WHERE facility_id = facility.id)
   OR EXISTS (SELECT 1 FROM blood_distributions WHERE dispatched_to_id = facility.id)
   OR EXISTS (SELECT 1 FROM blood_requests WHERE facility_id = facility.id)
   OR EXISTS (SELECT 1 FROM imported_days WHERE facility_id = facility.id)
   OR EXISTS (SELECT 1 FROM dashboard_daily_summary s WHERE s.facility_id = facility.id AND (s.total_stock <> 0 OR s.total_transferred <> 0 OR s.total_requests <> 0))
