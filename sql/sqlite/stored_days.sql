-- The stored rows of these days, and what decides whether a difference may be added to them. The
-- marks of this transaction's own triggers are erased before.
-- $1: [[facility in hex, date], …]
SELECT stored.facility_id, stored.date, stored.total_stock, stored.total_transferred, stored.total_requests, stored.by_blood_type,
    stored.as_of, stored.next_expires_at, stored.updated_at, stored.version,
    iif(stored.day_as_of = stored.as_of, stored.day_start, NULL), iif(stored.day_as_of = stored.as_of, stored.day_end, NULL),
    facility.timezone,
    -- The index is named because statistics from a moment without marks would make the planner
    -- ignore it.
    EXISTS (SELECT 1 FROM summary_marks INDEXED BY summary_marks_by_day WHERE facility_id = stored.facility_id)
        OR EXISTS (SELECT 1 FROM summary_marks INDEXED BY summary_marks_by_day WHERE facility_id IS NULL)
FROM json_each($1) AS k
CROSS JOIN dashboard_daily_summary AS stored ON stored.facility_id = unhex(k.value ->> 0) AND stored.date = k.value ->> 1
CROSS JOIN facilities AS facility ON facility.id = stored.facility_id
