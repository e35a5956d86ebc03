-- Of which day the stored rows of these keys are. by_blood_type only shows whether a row can be read:
-- the other columns hold nothing else than their types.
-- $1: [[facility in hex, date], …]
SELECT k.key, stored.by_blood_type, stored.as_of,
    iif(stored.day_as_of = stored.as_of, stored.day_start, NULL), iif(stored.day_as_of = stored.as_of, stored.day_end, NULL)
FROM json_each($1) AS k
CROSS JOIN dashboard_daily_summary AS stored ON stored.facility_id = unhex(k.value ->> 0) AND stored.date = k.value ->> 1
