-- An infinite event_time is older, or newer, than any other: it is read as the calendar's first or
-- last instant.
SELECT id, floor(extract(epoch FROM least(greatest(event_time, '4713-01-01 BC+00'), '294276-01-01+00')) * 1000.0)::bigint AS event_time_ms FROM tombstones WHERE kind = $1 AND id = ANY ($2)
