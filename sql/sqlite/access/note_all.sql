-- Several entries, in their order. $1 JSON list of [actor, action, subject, detail, address]    $2 now
INSERT INTO access_log (at_ms, actor, action, subject, detail, address)
SELECT $2, entry.value ->> 0, entry.value ->> 1, entry.value ->> 2, entry.value ->> 3, entry.value ->> 4
FROM json_each($1) AS entry ORDER BY entry.key
