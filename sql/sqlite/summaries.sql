-- $1: [[facility in hex, date], …]. Rows and watermark in one statement, which is one snapshot; the row is null where no key has one.
SELECT stored.facility_id, stored.date, stored.total_stock, stored.total_transferred, stored.total_requests, stored.by_blood_type,
    stored.as_of, stored.next_expires_at, stored.updated_at, stored.version,
    fleet.salt, fleet.watermark_epoch, fleet.watermark_at, fleet.watermark_generation, fleet.watermark_number
FROM fleet
LEFT JOIN (json_each($1) AS k CROSS JOIN dashboard_daily_summary AS stored
    ON stored.facility_id = unhex(k.value ->> 0) AND stored.date = k.value ->> 1)
