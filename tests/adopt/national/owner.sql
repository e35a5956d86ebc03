WITH place AS (SELECT id, name, timezone, (now() AT TIME ZONE timezone)::date AS today FROM public.facilities WHERE is_deleted IS FALSE),
type AS (SELECT t, replace(replace(t::text, '_POSITIVE', '+'), '_NEGATIVE', '-') AS name FROM unnest(enum_range(NULL::public.blood_type)) t),
unit AS (
    SELECT facility_id, blood_type, state, expires_at FROM public.red_cell_units
    UNION ALL SELECT facility_id, blood_type, state, expires_at FROM public.whole_blood_units
)
SELECT id::text AS key, today AS day, 'facility' AS figure, name AS blood_type, 1::bigint AS value FROM place
UNION ALL
SELECT p.id::text, p.today, 'stock', coalesce(t.name, 'unknown'), count(*)
FROM place p JOIN unit u ON u.facility_id = p.id LEFT JOIN type t ON t.t = u.blood_type
WHERE u.state IN ('in_stock', 'allocated') AND (u.expires_at IS NULL OR u.expires_at > now()) GROUP BY 1, 2, 4
UNION ALL
SELECT p.id::text, (d.delivered_at AT TIME ZONE p.timezone)::date, 'transferred', coalesce(t.name, 'unknown'), sum(d.unit_count)
FROM place p JOIN public.deliveries d ON d.to_facility_id = p.id LEFT JOIN type t ON t.t = d.blood_type
WHERE (d.delivered_at AT TIME ZONE p.timezone)::date BETWEEN p.today - 6 AND p.today GROUP BY 1, 2, 4
UNION ALL
SELECT p.id::text, (r.created_at AT TIME ZONE p.timezone)::date, 'requests', coalesce(t.name, 'unknown'), count(*)
FROM place p JOIN public.requests r ON r.facility_id = p.id LEFT JOIN type t ON t.t = r.blood_type
WHERE NOT r.cancelled AND (r.created_at AT TIME ZONE p.timezone)::date BETWEEN p.today - 6 AND p.today GROUP BY 1, 2, 4
