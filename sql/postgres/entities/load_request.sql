-- An infinite event_time is older, or newer, than any other: it is read as the calendar's first or
-- last instant. An infinite created_at is on no day, and so is the instant that it is read as.
SELECT id, least(greatest(event_time, '4713-01-01 BC+00'), '294276-01-01+00') AS event_time, facility_id, blood_type::text AS blood_type, quantity, 
       least(greatest(created_at, '4713-01-01 BC+00'), '294276-01-01+00') AS created_at
FROM blood_requests WHERE id = ANY ($1) ORDER BY id FOR UPDATE
