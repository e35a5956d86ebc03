-- What the sources say of each day, beside what is stored: one statement, so one snapshot.
-- $1  [[facility in hex, date, start, end], …]    $2  now
-- Each figure walks a covering index for each key. CROSS JOIN keeps the keys as the outer loop.
WITH keys AS MATERIALIZED (
    -- Days that have begun, of facilities that exist, and days with a row from the facility's
    -- earlier zone.
    SELECT facility.id AS facility_id, facility.timezone, k.value ->> 1 AS date, k.value ->> 2 AS starts_at, k.value ->> 3 AS ends_at
    FROM json_each($1) AS k
    CROSS JOIN facilities AS facility ON facility.id = unhex(k.value ->> 0)
    WHERE k.value ->> 2 <= $2
       OR EXISTS (SELECT 1 FROM dashboard_daily_summary AS row WHERE row.facility_id = facility.id AND row.date = k.value ->> 1)
)
SELECT keys.facility_id, keys.timezone, keys.date, keys.starts_at, keys.ends_at, keys.starts_at <= $2 AND $2 < keys.ends_at AS is_today,
    stored.version, stored.updated_at, stored.next_expires_at, stored.by_blood_type,
    stored.total_stock, stored.total_transferred, stored.total_requests,
    ifnull(stored.difference_as_of = stored.as_of, 0) AS by_difference,
    (stored.day_as_of, stored.day_start, stored.day_end) IS NOT (stored.as_of, keys.starts_at, keys.ends_at) AS bounds_differ,
    -- The clock was set back since it was written. Written anew, it is of an instant that has been.
    ifnull(stored.as_of > $2, 0) AS is_ahead,
    stored.version IS NOT NULL AND stored.day_as_of IS stored.as_of
        AND (stored.day_start, stored.day_end) IS NOT (keys.starts_at, keys.ends_at) AS day_differs,
    -- [[[blood type, stock, next expiry], …] for each bank]. Stock is known for today only. One
    -- bank at a time, in the index's order of types: nothing is sorted, however much a facility
    -- holds.
    (SELECT json_group_array(json((
        SELECT json_group_array(json_array(ifnull(blood_type, 'unknown'), units, next_expires_at)) FROM (
            SELECT blood_type, sum(quantity) AS units, min(expires_at) FILTER (WHERE quantity > 0) AS next_expires_at
            FROM blood_inventory
            WHERE blood_bank_id = bank.id AND (expires_at IS NULL OR expires_at > $2)
            GROUP BY blood_type
        )
    ))) FROM blood_banks AS bank WHERE $2 < keys.ends_at AND bank.facility_id = keys.facility_id) AS stock,
    -- [[blood type, transferred], …]
    (SELECT json_group_array(json_array(ifnull(blood_type, 'unknown'), units)) FROM (
        SELECT blood_type, sum(quantity) AS units FROM blood_distributions
        WHERE dispatched_to_id = keys.facility_id AND date_delivered >= keys.starts_at AND date_delivered < keys.ends_at
        GROUP BY blood_type
    )) AS transferred,
    -- [[blood type, requests], …]
    (SELECT json_group_array(json_array(ifnull(blood_type, 'unknown'), requests)) FROM (
        SELECT blood_type, count(*) AS requests FROM blood_requests
        WHERE facility_id = keys.facility_id AND created_at >= keys.starts_at AND created_at < keys.ends_at
        GROUP BY blood_type
    )) AS requests,
    -- A change of this facility has left a mark that is not processed yet. The index is named
    -- because statistics from a moment without marks would make the planner ignore it.
    EXISTS (SELECT 1 FROM summary_marks INDEXED BY summary_marks_by_day WHERE facility_id = keys.facility_id)
        OR EXISTS (SELECT 1 FROM summary_marks INDEXED BY summary_marks_by_day WHERE facility_id IS NULL) AS is_marked
FROM keys
LEFT JOIN dashboard_daily_summary AS stored ON stored.facility_id = keys.facility_id AND stored.date = keys.date
