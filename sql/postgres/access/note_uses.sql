-- Notes when keys were used last. $1 ids    $2 instants, in milliseconds since 1970
UPDATE api_keys SET used_ms = greatest(used_ms, use.at_ms)
FROM unnest($1::text[], $2::bigint[]) AS use (id, at_ms) WHERE api_keys.id = use.id
