-- $1: ids in hex    $2: kind
SELECT id, event_time FROM tombstones WHERE kind = $2 AND id IN (SELECT unhex(value) FROM json_each($1))
