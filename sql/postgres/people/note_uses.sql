-- Notes when sessions were used last. $1 ids    $2 instants, in milliseconds since 1970
UPDATE sessions SET used_ms = greatest(used_ms, use.at_ms)
FROM unnest($1::text[], $2::bigint[]) AS use (id, at_ms) WHERE sessions.id = use.id
