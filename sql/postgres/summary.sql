-- As summaries.sql, for one key: a look-up in each table, and nothing that stands between them. $1: the facility; $2: the date.
SELECT fleet_epoch(salt) AS epoch, watermark_epoch, watermark_generation, watermark_number,
       CASE WHEN isfinite(watermark_at) THEN floor(extract(epoch FROM watermark_at) * 1000.0)::bigint END AS watermark_ms,
       $1::uuid AS asked_id, (SELECT convert_to(timezone, CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END::name) FROM facilities WHERE id = $1::uuid) AS timezone,
       s.facility_id, s.date::text AS date, s.total_stock, s.total_transferred,
       s.total_requests, s.by_blood_type::text AS by_blood_type,
       CASE WHEN isfinite(s.as_of) THEN s.as_of END AS as_of,
       CASE WHEN s.next_expires_at < 'infinity' THEN greatest(s.next_expires_at, '4713-01-01 BC+00') END AS next_expires_at,
       CASE WHEN isfinite(s.updated_at) THEN s.updated_at END AS updated_at, s.version,
       CASE WHEN s.day_as_of = s.as_of AND isfinite(s.day_start) THEN s.day_start END AS day_start,
       CASE WHEN s.day_as_of = s.as_of AND isfinite(s.day_end) THEN s.day_end END AS day_end,
       EXISTS (SELECT 1 FROM summary_marks WHERE kind NOT IN ('stock', 'activity') AND (facility_id IS NULL OR facility_id = $1::uuid))
           OR EXISTS (SELECT 1 FROM failing_day WHERE facility_id = $1::uuid AND date = '-infinity') AS is_changing
FROM fleet
LEFT JOIN dashboard_daily_summary s ON s.facility_id = $1::uuid AND s.date = $2::text::date
