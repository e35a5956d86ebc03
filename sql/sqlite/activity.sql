-- A span for each facility and UTC day, over deliveries and requests together.
WITH activity (facility_id, at) AS (
    SELECT dispatched_to_id, date_delivered FROM blood_distributions
    WHERE dispatched_to_id IN (SELECT unhex(value) FROM json_each($1)) AND date_delivered IS NOT NULL
    UNION ALL
    SELECT facility_id, created_at FROM blood_requests WHERE facility_id IN (SELECT unhex(value) FROM json_each($1))
)
SELECT facility_id, min(at), max(at) FROM activity GROUP BY facility_id, at / 86400000
