SELECT facility_id, date FROM dashboard_daily_summary WHERE facility_id IN (SELECT unhex(value) FROM json_each($1))
