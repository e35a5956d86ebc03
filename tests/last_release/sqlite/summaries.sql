-- $1: [[facility in hex, date], …]
SELECT stored.facility_id, stored.date, stored.total_stock, stored.total_transferred, stored.total_requests, stored.by_blood_type,
    stored.as_of, stored.next_expires_at, stored.updated_at, stored.version
FROM json_each($1) AS k
CROSS JOIN dashboard_daily_summary AS stored ON stored.facility_id = unhex(k.value ->> 0) AND stored.date = k.value ->> 1
