-- The log of one actor, the newest first. actor is read by its index; the others only filter.
-- $1 only entries before this id    $2 the most    $3 actor    $4 action, or null    $5 subject, or null
SELECT id, at_ms, actor, action, subject, detail, address FROM access_log
WHERE actor = $3 AND id < $1 AND ($4::text IS NULL OR action = $4) AND ($5::text IS NULL OR subject = $5)
ORDER BY id DESC LIMIT $2
