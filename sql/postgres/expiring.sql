SELECT facility_id, date::text AS date FROM dashboard_daily_summary
WHERE next_expires_at <= to_timestamp($1::bigint::float8 / 1000.0::float8) AND date BETWEEN '0001-01-01' AND '9999-12-31' ORDER BY next_expires_at LIMIT $2
