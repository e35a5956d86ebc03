-- Notes when keys were used last. $1 JSON list of [id, instant in milliseconds since 1970]
UPDATE api_keys SET used_ms = max(ifnull(used_ms, 0), use.value ->> 1)
FROM json_each($1) AS use WHERE api_keys.id = use.value ->> 0
