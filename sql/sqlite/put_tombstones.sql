-- $1: [[id in hex, event time], …]    $2: kind
INSERT INTO tombstones (kind, id, event_time) SELECT $2, unhex(value ->> 0), value ->> 1 FROM json_each($1) WHERE true
ON CONFLICT (kind, id) DO UPDATE SET event_time = excluded.event_time
