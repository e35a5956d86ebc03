WITH clock AS (SELECT (now() AT TIME ZONE 'Asia/Kathmandu')::date AS today),
open AS (SELECT id, hospital_name FROM public.hospital WHERE closed_on IS NULL),
moved AS (
    SELECT hospital_id, moved_at::date AS day, kind, units,
        CASE blood_group WHEN 'O+' THEN 'O+' WHEN 'O pos' THEN 'O+' WHEN 'A-' THEN 'A-'
            WHEN 'AB Positive' THEN 'AB+' WHEN 'B neg' THEN 'B-' ELSE 'unknown' END AS type
    FROM public.movement
    WHERE moved_at >= (SELECT today - 6 FROM clock) AND moved_at < (SELECT today + 1 FROM clock)
)
SELECT id::text AS key, today AS day, 'facility' AS figure, hospital_name::text AS blood_type, 1::bigint AS value FROM open, clock
UNION ALL
SELECT s.hospital_id::text, today, 'stock', CASE WHEN b.abo IS NULL OR b.rh IS NULL THEN 'unknown' ELSE concat(b.abo, b.rh) END, count(*)
FROM clock, public.blood_store s JOIN public.bag b ON b.store_id = s.id
WHERE s.hospital_id IN (SELECT id FROM open) AND b.deleted_at IS NULL AND b.status = ANY (ARRAY['AVAILABLE', 'RESERVED'])
    AND coalesce(b.expiry_date, 'infinity') >= today
GROUP BY 1, 2, 4
UNION ALL
SELECT hospital_id::text, day, 'transferred', type, sum(units)::bigint FROM moved
WHERE kind = 'DELIVERY' AND hospital_id IN (SELECT id FROM open) GROUP BY 1, 2, 4
UNION ALL
SELECT hospital_id::text, day, 'requests', type, count(*) FROM moved
WHERE kind = 'REQUEST' AND hospital_id IN (SELECT id FROM open) GROUP BY 1, 2, 4
