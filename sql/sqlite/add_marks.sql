-- $1: [[kind, facility in hex, first, last], …]. The triggers may only widen a mark that is within
-- one UTC day.
INSERT INTO summary_marks (kind, facility_id, first_at, last_at, utc_day)
SELECT value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3,
    iif((value ->> 2) / 86400000 = (value ->> 3) / 86400000, (value ->> 2) / 86400000, NULL)
FROM json_each($1)
