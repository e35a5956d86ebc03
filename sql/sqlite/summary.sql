-- As summaries.sql, for one key: a look-up in each table, and no list to take apart. $1: the facility; $2: the date.
SELECT stored.facility_id, stored.date, stored.total_stock, stored.total_transferred, stored.total_requests, stored.by_blood_type,
    stored.as_of, stored.next_expires_at, stored.updated_at, stored.version,
    iif(stored.day_as_of = stored.as_of, stored.day_start, NULL) AS day_start, iif(stored.day_as_of = stored.as_of, stored.day_end, NULL) AS day_end,
    $1 AS asked_id, (SELECT timezone FROM facilities WHERE id = $1) AS timezone,
    EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = $1 AND kind NOT IN ('stock', 'activity'))
        OR EXISTS (SELECT 1 FROM summary_marks WHERE facility_id IS NULL AND kind NOT IN ('stock', 'activity')) AS is_changing,
    fleet.salt, fleet.watermark_epoch, fleet.watermark_at, fleet.watermark_generation, fleet.watermark_number
FROM fleet
LEFT JOIN dashboard_daily_summary AS stored ON stored.facility_id = $1 AND stored.date = $2
