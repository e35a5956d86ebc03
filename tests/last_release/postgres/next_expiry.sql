SELECT ceil(extract(epoch FROM min(next_expires_at)) * 1000)::bigint FROM dashboard_daily_summary WHERE next_expires_at IS NOT NULL
