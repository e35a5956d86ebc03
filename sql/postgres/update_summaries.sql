-- Updates rows that a difference was added to, their counters, and writes their outbox rows. The day
-- of such a row stays, and so does the row: it was read under the facility's lock.
WITH new AS (
    SELECT facility_id, date::date AS date, total_stock, total_transferred, total_requests, by_blood_type::jsonb AS by_blood_type,
           to_timestamp(as_of_ms::float8 / 1000.0::float8) AS as_of, to_timestamp(next_expires_at_ms::float8 / 1000.0::float8) AS next_expires_at,
           to_timestamp(updated_at_ms::float8 / 1000.0::float8) AS updated_at, version
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])
        AS n (facility_id, date, total_stock, total_transferred, total_requests, by_blood_type, as_of_ms, next_expires_at_ms, updated_at_ms, version)
), rows AS (
    UPDATE dashboard_daily_summary AS s SET
        total_stock = n.total_stock, total_transferred = n.total_transferred, total_requests = n.total_requests,
        by_blood_type = n.by_blood_type, as_of = n.as_of, next_expires_at = n.next_expires_at, updated_at = n.updated_at, version = n.version,
        day_as_of = n.as_of, difference_as_of = n.as_of
    FROM new AS n WHERE s.facility_id = n.facility_id AND s.date = n.date
    RETURNING s.facility_id, s.date, s.version
), counters AS (
    UPDATE facility_state f SET version = n.version
    FROM (SELECT facility_id, max(version) AS version FROM new GROUP BY facility_id) AS n
    WHERE f.facility_id = n.facility_id AND f.version < n.version
)
INSERT INTO outbox (facility_id, date, version) SELECT facility_id, date, version FROM rows
