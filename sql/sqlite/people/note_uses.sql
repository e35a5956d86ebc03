-- Notes when sessions were used last. $1 JSON list of [id, instant in milliseconds since 1970]
UPDATE sessions SET used_ms = max(used_ms, use.value ->> 1)
FROM json_each($1) AS use WHERE sessions.id = use.value ->> 0
