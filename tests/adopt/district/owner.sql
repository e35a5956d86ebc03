WITH place AS (SELECT hc_code, hc_name, time_zone, (now() AT TIME ZONE time_zone)::date AS today FROM hemo.health_centre WHERE status <> 'I'),
held AS (
    SELECT hc_code, coalesce(t.abbreviation, 'unknown') AS type FROM hemo.blood_inventory LEFT JOIN hemo.blood_types t USING (type_no)
    WHERE current_state IN ('Available', 'Cross-matched') AND (use_by IS NULL OR use_by > now())
),
got AS (
    SELECT hc_code, no_of_units, date_received, coalesce(t.abbreviation, 'unknown') AS type FROM hemo.goods_received LEFT JOIN hemo.blood_types t USING (type_no)
),
asked AS (
    SELECT hc_code, date_requested, coalesce(t.abbreviation, 'unknown') AS type FROM hemo.transfusion_request LEFT JOIN hemo.blood_types t USING (type_no)
    WHERE request_status IN ('NEW', 'DONE')
)
SELECT hc_code::text AS key, today AS day, 'facility' AS figure, hc_name::text AS blood_type, 1::bigint AS value FROM place
UNION ALL SELECT hc_code, today, 'stock', type, count(*) FROM held JOIN place USING (hc_code) GROUP BY 1, 2, 4
UNION ALL SELECT hc_code, (date_received AT TIME ZONE time_zone)::date, 'transferred', type, sum(no_of_units) FROM got JOIN place USING (hc_code)
    WHERE (date_received AT TIME ZONE time_zone)::date BETWEEN today - 6 AND today GROUP BY 1, 2, 4
UNION ALL SELECT hc_code, (date_requested AT TIME ZONE time_zone)::date, 'requests', type, count(*) FROM asked JOIN place USING (hc_code)
    WHERE (date_requested AT TIME ZONE time_zone)::date BETWEEN today - 6 AND today GROUP BY 1, 2, 4
