SELECT id, event_time, name, timezone FROM facilities WHERE id IN (SELECT unhex(value) FROM json_each($1))
