-- The log of one subject, the newest first. subject is read by its index; the others only filter.
-- $1 only entries before this id    $2 the most    $3 subject    $4 action, or null    $5 actor, or null
SELECT id, at_ms, actor, action, subject, detail, address FROM access_log
WHERE subject = $3 AND id < $1 AND ($4 IS NULL OR action = $4) AND ($5 IS NULL OR actor = $5)
ORDER BY id DESC LIMIT $2
