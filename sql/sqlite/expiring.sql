-- $1: until    $2: limit
SELECT facility_id, date FROM dashboard_daily_summary WHERE next_expires_at <= $1 AND date(date) = date ORDER BY next_expires_at LIMIT $2
