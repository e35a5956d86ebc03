-- For each key: its row, if it has one, and its facility's zone, if the facility exists. With them
-- the watermark, in one snapshot of one server. The first columns are null when no key was asked
-- for.
WITH changed AS MATERIALIZED (
    -- Facilities with a change of their own that is not processed yet; null stands for all
    -- facilities.
    SELECT facility_id FROM summary_marks WHERE kind NOT IN ('stock', 'activity')
    UNION ALL
    -- Of these it is not known which days they have.
    SELECT facility_id FROM failing_day WHERE date = '-infinity'
), asked AS (
    SELECT k.facility_id AS asked_id, (SELECT convert_to(timezone, CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END::name) FROM facilities WHERE id = k.facility_id) AS timezone,
           s.facility_id, s.date::text AS date, s.total_stock, s.total_transferred,
           s.total_requests, s.by_blood_type::text AS by_blood_type, 
           CASE WHEN isfinite(s.as_of) THEN s.as_of END AS as_of,
           CASE WHEN s.next_expires_at < 'infinity' THEN greatest(s.next_expires_at, '4713-01-01 BC+00') END AS next_expires_at,
           CASE WHEN isfinite(s.updated_at) THEN s.updated_at END AS updated_at, s.version,
           CASE WHEN s.day_as_of = s.as_of AND isfinite(s.day_start) THEN s.day_start END AS day_start,
           CASE WHEN s.day_as_of = s.as_of AND isfinite(s.day_end) THEN s.day_end END AS day_end,
           k.facility_id IN (SELECT facility_id FROM changed WHERE facility_id IS NOT NULL)
               OR EXISTS (SELECT 1 FROM changed WHERE facility_id IS NULL) AS is_changing
    FROM unnest($1::uuid[], $2::text[]) AS k (facility_id, date)
    LEFT JOIN dashboard_daily_summary s ON s.facility_id = k.facility_id AND s.date = k.date::date
), agreed AS MATERIALIZED (
    SELECT fleet_epoch(salt) AS epoch, watermark_epoch, watermark_generation, watermark_number,
           CASE WHEN isfinite(watermark_at) THEN floor(extract(epoch FROM watermark_at) * 1000.0)::bigint END AS watermark_ms
    FROM fleet
)
SELECT * FROM agreed LEFT JOIN asked ON true
