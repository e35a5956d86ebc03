SELECT facility_id FROM facility_state AS state
WHERE NOT EXISTS (SELECT 1 FROM facilities WHERE id = state.facility_id)
  AND EXISTS (SELECT 1 FROM dashboard_daily_summary WHERE facility_id = state.facility_id)
