-- $1: [[facility in hex, date, stock, transferred, requests, by blood type, as of, next expiry,
-- updated at, version, day start, day end, by difference], …]
INSERT INTO dashboard_daily_summary
    (facility_id, date, total_stock, total_transferred, total_requests, by_blood_type, as_of, next_expires_at, updated_at, version,
     day_start, day_end, day_as_of, difference_as_of)
SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9,
    value ->> 10, value ->> 11, value ->> 6, iif(value ->> 12, value ->> 6, NULL)
FROM json_each($1) WHERE true
ON CONFLICT (facility_id, date) DO UPDATE SET
    total_stock = excluded.total_stock, total_transferred = excluded.total_transferred, total_requests = excluded.total_requests,
    by_blood_type = excluded.by_blood_type, as_of = excluded.as_of, next_expires_at = excluded.next_expires_at,
    updated_at = excluded.updated_at, version = excluded.version,
    day_start = excluded.day_start, day_end = excluded.day_end, day_as_of = excluded.day_as_of,
    difference_as_of = excluded.difference_as_of
