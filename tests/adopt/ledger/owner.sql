WITH clock AS (SELECT (now() AT TIME ZONE 'Africa/Lagos')::date AS today),
type (item_code, name) AS (VALUES ('RBC-OP', 'O+'), ('RBC-ON', 'O-'), ('RBC-AP', 'A+'), ('RBC-BP', 'B+')),
ledger AS (
    SELECT l.*, coalesce(t.name, 'unknown') AS type, (l.posted_at AT TIME ZONE 'UTC' AT TIME ZONE 'Africa/Lagos')::date AS day
    FROM public.stock_ledger l JOIN public.facility_master f USING (facility_code) LEFT JOIN type t ON t.item_code = l.item_code
    WHERE f.is_active
),
asked AS (
    SELECT r.facility_code, coalesce(t.name, 'unknown') AS type, (r.raised_at AT TIME ZONE 'UTC' AT TIME ZONE 'Africa/Lagos')::date AS day
    FROM public.requisition r JOIN public.facility_master f USING (facility_code) LEFT JOIN type t ON t.item_code = r.item_code
    WHERE f.is_active AND r.req_status IN ('OPEN', 'FILLED')
)
SELECT facility_code::text AS key, today AS day, 'facility' AS figure, facility_name AS blood_type, 1::bigint AS value
FROM public.facility_master, clock WHERE is_active
UNION ALL
SELECT facility_code, today, 'stock', type, coalesce(sum(qty) FILTER (WHERE sign > 0), 0) - coalesce(sum(qty) FILTER (WHERE sign < 0), 0)
FROM ledger, clock GROUP BY 1, 2, 4
UNION ALL
SELECT facility_code, day, 'transferred', type, sum(qty) FROM ledger, clock
WHERE txn_type = 'RECEIPT' AND day BETWEEN today - 6 AND today GROUP BY 1, 2, 4
UNION ALL
SELECT facility_code, day, 'requests', type, count(*) FROM asked, clock WHERE day BETWEEN today - 6 AND today GROUP BY 1, 2, 4
