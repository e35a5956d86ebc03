-- $1: [[id in hex, event time, facility id, name], …]
INSERT INTO blood_banks (id, event_time, facility_id, name)
SELECT unhex(value ->> 0), value ->> 1, unhex(value ->> 2), value ->> 3 FROM json_each($1) WHERE true
ON CONFLICT (id) DO UPDATE SET
    event_time = excluded.event_time, facility_id = excluded.facility_id, name = excluded.name
