-- $1: [[facility in hex, date], …]. For each key: its row, if it has one, and its facility's zone,
-- if the facility exists. With them the watermark, in one snapshot. All columns but the last are
-- null when no key was asked for.
SELECT stored.facility_id, stored.date, stored.total_stock, stored.total_transferred, stored.total_requests, stored.by_blood_type,
    stored.as_of, stored.next_expires_at, stored.updated_at, stored.version,
    iif(stored.day_as_of = stored.as_of, stored.day_start, NULL) AS day_start, iif(stored.day_as_of = stored.as_of, stored.day_end, NULL) AS day_end,
    unhex(k.value ->> 0) AS asked_id, (SELECT timezone FROM facilities WHERE id = unhex(k.value ->> 0)) AS timezone,
    -- Whether a change of the facility itself, or of all facilities, is not processed yet.
    EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = unhex(k.value ->> 0) AND kind NOT IN ('stock', 'activity'))
        OR EXISTS (SELECT 1 FROM summary_marks WHERE facility_id IS NULL AND kind NOT IN ('stock', 'activity')) AS is_changing,
    fleet.salt, fleet.watermark_epoch, fleet.watermark_at, fleet.watermark_generation, fleet.watermark_number
FROM fleet
LEFT JOIN json_each($1) AS k
LEFT JOIN dashboard_daily_summary AS stored ON stored.facility_id = unhex(k.value ->> 0) AND stored.date = k.value ->> 1
