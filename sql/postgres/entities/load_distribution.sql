-- An infinite event_time is older, or newer, than any other: it is read as the calendar's first or
-- last instant. An infinite date_delivered is on no day, like a missing one.
SELECT id, floor(extract(epoch FROM least(greatest(event_time, '4713-01-01 BC+00'), '294276-01-01+00')) * 1000.0)::bigint AS event_time_ms, dispatched_to_id, blood_type::text AS blood_type, quantity, 
       CASE WHEN isfinite(date_delivered) THEN floor(extract(epoch FROM date_delivered) * 1000.0)::bigint END AS date_delivered_ms
FROM blood_distributions WHERE id = ANY ($1) ORDER BY id FOR UPDATE
