-- The first and last instant of deliveries and requests in each facility's UTC days, whatever its
-- zone is. With `[sources]`, the part between "own tables" and "end" is replaced by that of the
-- mapping.
SELECT facility_id, floor(extract(epoch FROM min(at)) * 1000.0)::bigint AS first_ms, floor(extract(epoch FROM max(at)) * 1000.0)::bigint AS last_ms
FROM (
    -- own tables: instants
    SELECT dispatched_to_id AS facility_id, date_delivered AS at FROM blood_distributions WHERE dispatched_to_id = ANY ($1) AND date_delivered IS NOT NULL
    UNION ALL
    SELECT facility_id, created_at FROM blood_requests WHERE facility_id = ANY ($1)
    -- end
) AS instant
-- Instants outside the calendar's years are on no day.
WHERE at >= '0001-01-01+00' AND at < '10000-01-01+00'
GROUP BY facility_id, pg_catalog.date_bin('1 day', at, 'epoch')
