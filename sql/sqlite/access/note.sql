-- $1 actor    $2 action    $3 subject    $4 detail    $5 address    $6 now
INSERT INTO access_log (at_ms, actor, action, subject, detail, address) VALUES ($6, $1, $2, $3, $4, $5)
