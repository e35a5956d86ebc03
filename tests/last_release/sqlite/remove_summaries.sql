-- The counter in facility_state stays: a version never recurs, not even for a facility that comes back.
DELETE FROM dashboard_daily_summary WHERE facility_id IN (SELECT unhex(value) FROM json_each($1))
