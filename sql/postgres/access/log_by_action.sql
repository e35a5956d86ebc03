-- The log of one action, the newest first. action is read by its index; the others only filter.
-- $1 only entries before this id    $2 the most    $3 action    $4 actor, or null    $5 subject, or null
SELECT id, at_ms, actor, action, subject, detail, address FROM access_log
WHERE action = $3 AND id < $1 AND ($4::text IS NULL OR actor = $4) AND ($5::text IS NULL OR subject = $5)
ORDER BY id DESC LIMIT $2
