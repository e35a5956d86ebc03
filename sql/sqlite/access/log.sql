-- The log, the newest first. $1 only entries before this id    $2 the most
SELECT id, at_ms, actor, action, subject, detail, address FROM access_log WHERE id < $1 ORDER BY id DESC LIMIT $2
