-- $1 actor    $2 action    $3 subject    $4 detail    $5 address
INSERT INTO access_log (at_ms, actor, action, subject, detail, address)
VALUES (floor(extract(epoch FROM now()) * 1000.0)::bigint, $1, $2, $3, $4, $5)
