-- Derives figures from their sources in this statement's snapshot, beside the stored row. $1
-- facility ids, $2 dates, $3 first instants, $4 end instants (exclusive), in milliseconds. With
-- `[sources]`, the parts between "own tables" and "end" are replaced by those of the mapping.
WITH key AS (
    SELECT k.facility_id, k.date::date AS date, to_timestamp(k.start_ms::float8 / 1000.0::float8) AS day_start, to_timestamp(k.end_ms::float8 / 1000.0::float8) AS day_end,
           f.timezone, statement_timestamp() >= to_timestamp(k.start_ms::float8 / 1000.0::float8) AND statement_timestamp() < to_timestamp(k.end_ms::float8 / 1000.0::float8) AS is_today
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[]) AS k (facility_id, date, start_ms, end_ms)
    -- OFFSET 0 keeps this a look-up for each key. As a join it becomes a scan of all facilities.
    CROSS JOIN LATERAL (
        -- own tables: zone
        SELECT timezone FROM facilities WHERE id = k.facility_id
        -- end
        OFFSET 0
    ) AS f
    -- A day that has not begun has no figures, but the facility's earlier zone may have left a row.
    WHERE to_timestamp(k.start_ms::float8 / 1000.0::float8) <= statement_timestamp()
       -- Also a look-up for each key: EXISTS becomes a scan of the table.
       OR (SELECT true FROM dashboard_daily_summary WHERE facility_id = k.facility_id AND date = k.date::date)
), derived AS (
    SELECT key.facility_id, key.date, key.timezone, key.is_today, old.version AS old_version, old.updated_at AS old_updated_at,
           old.total_stock AS old_stock, old.total_transferred AS old_transferred, old.total_requests AS old_requests,
           old.by_blood_type AS old_by_blood_type, isfinite(old.as_of) AND isfinite(old.updated_at) AS old_is_dated,
           old.next_expires_at AS old_next_expires_at, coalesce(old.difference_as_of = old.as_of, false) AS by_difference,
           (old.day_as_of, old.day_start, old.day_end) IS DISTINCT FROM (old.as_of, key.day_start, key.day_end) AS bounds_differ,
           -- The clock was set back since it was written. Written anew, it is of an instant that has been.
           old.as_of > statement_timestamp() AS is_ahead,
           coalesce(old.day_as_of = old.as_of AND (old.day_start, old.day_end) IS DISTINCT FROM (key.day_start, key.day_end), false) AS day_differs,
           CASE WHEN key.is_today THEN coalesce(sums.stock, 0) WHEN old.total_stock IS NOT NULL THEN coalesce(sums.stock, 0) END AS total_stock,
           coalesce(sums.transferred, 0) AS total_transferred, coalesce(sums.requests, 0) AS total_requests,
           coalesce(sums.by_blood_type, '{}') AS by_blood_type,
           -- Rounded up to the millisecond, as it is stored: otherwise microseconds that another
           -- program wrote would look like a change at every refresh. Units that expire beyond the
           -- years that an answer can name never expire.
           to_timestamp(ceil(extract(epoch FROM CASE WHEN sums.next_expires_at < '9999-12-31+00' THEN sums.next_expires_at END) * 1000.0)::float8 / 1000.0::float8)
               AS next_expires_at
    FROM key
    LEFT JOIN dashboard_daily_summary old ON old.facility_id = key.facility_id AND old.date = key.date
    -- LATERAL for each key: each branch is an index-only scan of this facility and day.
    CROSS JOIN LATERAL (
        SELECT sum(stock)::bigint AS stock, sum(transferred)::bigint AS transferred, sum(requests)::bigint AS requests,
               min(next_expires_at) AS next_expires_at,
               pg_catalog.jsonb_object_agg(blood_type, pg_catalog.jsonb_build_object(
                   'stock', CASE WHEN key.is_today OR old.total_stock IS NOT NULL THEN stock END, 'transferred', transferred, 'requests', requests
               )) FILTER (WHERE stock <> 0 OR transferred <> 0 OR requests <> 0) AS by_blood_type
        FROM (
            SELECT coalesce(blood_type, 'unknown') AS blood_type, sum(stock)::bigint AS stock, sum(transferred)::bigint AS transferred,
                   sum(requests)::bigint AS requests, min(next_expires_at) AS next_expires_at
            FROM (
                -- A closed day keeps the stock that was recorded.
                SELECT CASE WHEN kept.key IN ('O+', 'O-', 'A+', 'A-', 'B+', 'B-', 'AB+', 'AB-') THEN kept.key END AS blood_type,
                       (kept.value ->> 'stock'::text)::numeric::bigint AS stock, 0::bigint AS transferred, 0::bigint AS requests, NULL::timestamptz AS next_expires_at
                FROM pg_catalog.jsonb_each(CASE
                    WHEN pg_catalog.jsonb_typeof(old.by_blood_type) = 'object' AND NOT pg_catalog.jsonb_path_exists(old.by_blood_type,
                        '$.* ? (@.type() != "object" || exists(@.stock ? (@.type() != "null" && (@.type() != "number" || @ < 0 || @ > 1000000000000000 || @.floor() != @))))')
                    THEN old.by_blood_type
                    -- If another program wrote something unreadable, the figures by type are lost,
                    -- and only the total is left.
                    ELSE pg_catalog.jsonb_build_object('unknown', pg_catalog.jsonb_build_object('stock', least(greatest(coalesce(old.total_stock, 0::bigint), 0::bigint), 1000000000000000)))
                END) AS kept WHERE NOT key.is_today
                -- own tables: figures
                UNION ALL
                SELECT CASE WHEN held.blood_type IN ('O+', 'O-', 'A+', 'A-', 'B+', 'B-', 'AB+', 'AB-') THEN held.blood_type END AS blood_type,
                       held.stock, held.transferred, held.requests, held.next_expires_at
                FROM blood_banks bank
                -- One bank at a time, in the index's order of types: nothing is hashed or sorted,
                -- however much a facility holds.
                CROSS JOIN LATERAL (
                    SELECT item.blood_type::text AS blood_type, sum(item.quantity) AS stock, 0::bigint AS transferred, 0::bigint AS requests,
                           min(item.expires_at) FILTER (WHERE item.quantity > 0) AS next_expires_at
                    FROM blood_inventory item
                    WHERE item.blood_bank_id = bank.id AND (item.expires_at IS NULL OR item.expires_at > statement_timestamp())
                    GROUP BY item.blood_type
                ) AS held
                WHERE key.is_today AND bank.facility_id = key.facility_id
                UNION ALL
                SELECT CASE WHEN delivery.blood_type::text IN ('O+', 'O-', 'A+', 'A-', 'B+', 'B-', 'AB+', 'AB-') THEN delivery.blood_type::text END, 0, sum(delivery.quantity), 0, NULL
                FROM blood_distributions delivery
                WHERE delivery.dispatched_to_id = key.facility_id AND delivery.date_delivered >= key.day_start AND delivery.date_delivered < key.day_end
                GROUP BY delivery.blood_type
                UNION ALL
                SELECT CASE WHEN request.blood_type::text IN ('O+', 'O-', 'A+', 'A-', 'B+', 'B-', 'AB+', 'AB-') THEN request.blood_type::text END, 0, 0, count(*), NULL
                FROM blood_requests request
                WHERE request.facility_id = key.facility_id AND request.created_at >= key.day_start AND request.created_at < key.day_end
                GROUP BY request.blood_type
                -- end
            ) AS part
            GROUP BY coalesce(blood_type, 'unknown')
        ) AS by_type
    ) AS sums
), compared AS (
    SELECT *, CASE WHEN old_version IS NULL THEN is_today OR total_transferred <> 0 OR total_requests <> 0
                   ELSE (total_stock, total_transferred, total_requests, by_blood_type) IS DISTINCT FROM (old_stock, old_transferred, old_requests, old_by_blood_type)
                        OR NOT old_is_dated
              END AS figures_differ
    FROM derived
)
