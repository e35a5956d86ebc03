-- $1: [[id in hex, event time, name, timezone], …]
INSERT INTO facilities (id, event_time, name, timezone)
SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3 FROM json_each($1) WHERE true
ON CONFLICT (id) DO UPDATE SET
    event_time = excluded.event_time, name = excluded.name, timezone = excluded.timezone
