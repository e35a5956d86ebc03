SELECT facility_id, date::text AS date, convert_to(timezone, CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END::name) AS timezone, is_today, old_version, CASE WHEN isfinite(old_updated_at) THEN floor(extract(epoch FROM old_updated_at) * 1000.0)::bigint END AS old_updated_at_ms,
       total_stock, total_transferred, total_requests, by_blood_type::text AS by_blood_type,
       ceil(extract(epoch FROM next_expires_at) * 1000.0)::bigint AS next_expires_at_ms, figures_differ, day_differs,
       figures_differ OR (old_version IS NOT NULL AND (bounds_differ OR is_ahead OR next_expires_at IS DISTINCT FROM old_next_expires_at)) AS write_needed
FROM compared
