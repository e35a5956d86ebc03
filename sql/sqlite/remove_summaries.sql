-- The counter in facility_state stays, so a version never recurs, even when the facility comes
-- back.
DELETE FROM dashboard_daily_summary WHERE facility_id IN (SELECT unhex(value) FROM json_each($1))
