SELECT id, event_time, dispatched_to_id, blood_type, quantity, date_delivered FROM blood_distributions WHERE id IN (SELECT unhex(value) FROM json_each($1))
