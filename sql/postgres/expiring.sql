SELECT facility_id, date::text AS date FROM dashboard_daily_summary AS s
WHERE next_expires_at <= to_timestamp($1::bigint::float8 / 1000.0::float8) AND date BETWEEN '0001-01-01' AND '9999-12-31'
  -- Those that cannot be counted are tried by themselves.
  AND NOT EXISTS (SELECT 1 FROM failing_day AS failing WHERE failing.facility_id = s.facility_id AND failing.date = s.date)
ORDER BY next_expires_at LIMIT $2
