-- An infinite event_time is older, or newer, than any other: it is read as the calendar's first or
-- last instant. Units with an infinite expiry never expire.
SELECT id, least(greatest(event_time, '4713-01-01 BC+00'), '294276-01-01+00') AS event_time, blood_bank_id, blood_type::text AS blood_type, quantity, 
       CASE WHEN expires_at < 'infinity' THEN greatest(expires_at, '4713-01-01 BC+00') END AS expires_at
FROM blood_inventory WHERE id = ANY ($1) ORDER BY id FOR UPDATE
