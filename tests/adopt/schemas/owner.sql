WITH clock AS (SELECT now() AT TIME ZONE 'America/Bogota' AS local, (now() AT TIME ZONE 'America/Bogota')::date AS today),
place AS (SELECT site_code, title FROM org.site WHERE site_status <> 'CLOSED'),
held AS (
    SELECT l.site_code, coalesce(translate(u.abo_group, '0', 'O') || CASE u.rhd WHEN 'POS' THEN '+' WHEN 'NEG' THEN '-' END, 'unknown') AS type
    FROM clock, inv.storage_location l JOIN inv.blood_unit u USING (location_id)
    WHERE u.deleted <> 1 AND u.unit_status NOT IN ('QUARANTINE', 'ISSUED') AND (u.expiry IS NULL OR u.expiry > local)
),
sent AS (
    SELECT c.destination_site AS site_code, c.received_on::date AS day, n.quantity,
        coalesce(n.abo_group || CASE n.rhd WHEN 'POS' THEN '+' WHEN 'NEG' THEN '-' END, 'unknown') AS type
    FROM logistics.consignment c JOIN logistics.consignment_line n USING (consignment_id)
),
asked AS (
    SELECT site_code, requested_on AS day, units_requested, coalesce(abo_group || CASE rhd WHEN 'POS' THEN '+' WHEN 'NEG' THEN '-' END, 'unknown') AS type
    FROM clinical.requisition
)
SELECT site_code AS key, today AS day, 'facility' AS figure, title AS blood_type, 1::bigint AS value FROM place, clock
UNION ALL SELECT site_code, today, 'stock', type, count(*) FROM held JOIN place USING (site_code), clock GROUP BY 1, 2, 4
UNION ALL SELECT site_code, day, 'transferred', type, sum(quantity) FROM sent JOIN place USING (site_code), clock
    WHERE day BETWEEN today - 6 AND today GROUP BY 1, 2, 4
UNION ALL SELECT site_code, day, 'requests', type, sum(units_requested) FROM asked JOIN place USING (site_code), clock
    WHERE day BETWEEN today - 6 AND today GROUP BY 1, 2, 4
