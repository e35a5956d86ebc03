-- Of which day the stored rows of these keys are, where that date is the one that is open at the
-- facility. It is not after the clock was set back over a midnight: the day before was opened again.
-- by_blood_type only shows whether a row can be read:
-- the other columns hold nothing else than their types.
-- $1: [[facility in hex, date], …]
SELECT k.key, stored.by_blood_type, stored.as_of,
    iif(stored.day_as_of = stored.as_of, stored.day_start, NULL), iif(stored.day_as_of = stored.as_of, stored.day_end, NULL)
FROM json_each($1) AS k
CROSS JOIN dashboard_daily_summary AS stored ON stored.facility_id = unhex(k.value ->> 0) AND stored.date = k.value ->> 1
CROSS JOIN facility_state AS state ON state.facility_id = stored.facility_id AND state.today = stored.date
