-- An infinite event_time is older, or newer, than any other: it is read as the calendar's first or
-- last instant. An infinite date_delivered is on no day, like a missing one.
SELECT id, least(greatest(event_time, '4713-01-01 BC+00'), '294276-01-01+00') AS event_time, dispatched_to_id, blood_type::text AS blood_type, quantity, 
       CASE WHEN isfinite(date_delivered) THEN date_delivered END AS date_delivered
FROM blood_distributions WHERE id = ANY ($1) ORDER BY id FOR UPDATE
