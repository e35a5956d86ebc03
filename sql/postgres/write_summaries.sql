-- Writes derived rows, their counters and their outbox rows.
WITH new AS (
    SELECT facility_id, date::date AS date, total_stock, total_transferred, total_requests, by_blood_type::jsonb AS by_blood_type,
           to_timestamp(as_of_ms::float8 / 1000.0::float8) AS as_of, to_timestamp(next_expires_at_ms::float8 / 1000.0::float8) AS next_expires_at,
           to_timestamp(updated_at_ms::float8 / 1000.0::float8) AS updated_at, version,
           to_timestamp(day_start_ms::float8 / 1000.0::float8) AS day_start, to_timestamp(day_end_ms::float8 / 1000.0::float8) AS day_end,
           to_timestamp(as_of_ms::float8 / 1000.0::float8) AS day_as_of,
           NULL::timestamptz AS difference_as_of
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],
                $11::bigint[], $12::bigint[])
        AS n (facility_id, date, total_stock, total_transferred, total_requests, by_blood_type, as_of_ms, next_expires_at_ms, updated_at_ms, version,
              day_start_ms, day_end_ms)
), rows AS (
    INSERT INTO dashboard_daily_summary AS s
        (facility_id, date, total_stock, total_transferred, total_requests, by_blood_type, as_of, next_expires_at, updated_at, version,
         day_start, day_end, day_as_of, difference_as_of)
    SELECT * FROM new
    ON CONFLICT (facility_id, date) DO UPDATE SET
        total_stock = excluded.total_stock, total_transferred = excluded.total_transferred, total_requests = excluded.total_requests,
        by_blood_type = excluded.by_blood_type, as_of = excluded.as_of, next_expires_at = excluded.next_expires_at,
        updated_at = excluded.updated_at, version = excluded.version,
        day_start = excluded.day_start, day_end = excluded.day_end, day_as_of = excluded.day_as_of,
        difference_as_of = excluded.difference_as_of
), counters AS (
    UPDATE facility_state f SET version = n.version
    FROM (SELECT facility_id, max(version) AS version FROM new GROUP BY facility_id) AS n
    WHERE f.facility_id = n.facility_id AND f.version < n.version
)
INSERT INTO outbox (facility_id, date, version) SELECT facility_id, date, version FROM new
