-- Of which day the stored rows of these keys are, where that date is the one that is open at the
-- facility. It is not after the clock was set back over a midnight: the day before was opened again.
-- by_blood_type and updated_at only show whether a row can be read. $1 facility ids, $2 dates
SELECT k.number, s.by_blood_type::text AS by_blood_type,
       CASE WHEN isfinite(s.as_of) AND isfinite(s.updated_at) THEN s.as_of END AS as_of,
       CASE WHEN s.day_as_of = s.as_of AND isfinite(s.day_start) THEN s.day_start END AS day_start,
       CASE WHEN s.day_as_of = s.as_of AND isfinite(s.day_end) THEN s.day_end END AS day_end
FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS k (facility_id, date, number)
-- OFFSET 0 keeps this a look-up for each key.
CROSS JOIN LATERAL (SELECT * FROM dashboard_daily_summary WHERE facility_id = k.facility_id AND date = k.date::date OFFSET 0) AS s
CROSS JOIN LATERAL (SELECT FROM facility_state WHERE facility_id = k.facility_id AND today = k.date::date OFFSET 0) AS open
