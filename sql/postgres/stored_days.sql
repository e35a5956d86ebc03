-- The stored rows of these days, and what decides whether a difference may be added to them, in
-- this statement's snapshot. $1 facility ids, $2 dates, $3 the stamp
-- of the source tables when they were trusted.
WITH marked AS MATERIALIZED (
    -- The facilities that visible marks name, and those that the named banks are in now. Null: all.
    SELECT facility_id FROM summary_marks
    UNION ALL
    SELECT NULL::uuid FROM noticed_rows
    UNION ALL
    SELECT bank.facility_id FROM summary_marks mark JOIN blood_banks bank ON bank.id = mark.blood_bank_id
)
SELECT s.facility_id, s.date::text AS date, s.total_stock, s.total_transferred, s.total_requests, s.by_blood_type::text AS by_blood_type,
       s.as_of, s.updated_at, s.version,
       CASE WHEN s.next_expires_at < 'infinity' THEN greatest(s.next_expires_at, '4713-01-01 BC+00') END AS next_expires_at,
       CASE WHEN s.day_as_of = s.as_of AND isfinite(s.day_start) THEN s.day_start END AS day_start,
       CASE WHEN s.day_as_of = s.as_of AND isfinite(s.day_end) THEN s.day_end END AS day_end,
       convert_to(f.timezone, CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END::name) AS timezone,
       s.facility_id IN (SELECT facility_id FROM marked WHERE facility_id IS NOT NULL) OR EXISTS (SELECT 1 FROM marked WHERE facility_id IS NULL) AS is_marked,
       statement_timestamp() AS now,
       (SELECT stamp = $3 FROM source_stamp) AS is_watched
FROM unnest($1::uuid[], $2::text[]) AS k (facility_id, date)
-- OFFSET 0 keeps each of these a look-up for each key.
CROSS JOIN LATERAL (SELECT * FROM dashboard_daily_summary WHERE facility_id = k.facility_id AND date = k.date::date AND isfinite(as_of) AND isfinite(updated_at) OFFSET 0) AS s
CROSS JOIN LATERAL (SELECT timezone FROM facilities WHERE id = k.facility_id OFFSET 0) AS f
