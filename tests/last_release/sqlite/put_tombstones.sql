-- $1: [[id in hex, event time, facility in hex or null, instant or null], …]    $2: kind
INSERT INTO tombstones (kind, id, event_time, facility_id, at)
SELECT $2, unhex(value ->> 0), value ->> 1, unhex(value ->> 2), value ->> 3 FROM json_each($1) WHERE true
ON CONFLICT (kind, id) DO UPDATE SET event_time = excluded.event_time, facility_id = excluded.facility_id, at = excluded.at
