-- $1: [[id in hex, event time, dispatched to id, blood type, quantity, date delivered], …]
INSERT INTO blood_distributions (id, event_time, dispatched_to_id, blood_type, quantity, date_delivered)
SELECT unhex(value ->> 0), value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5 FROM json_each($1) WHERE true
ON CONFLICT (id) DO UPDATE SET
    event_time = excluded.event_time, dispatched_to_id = excluded.dispatched_to_id, blood_type = excluded.blood_type, quantity = excluded.quantity, date_delivered = excluded.date_delivered
