-- $1: ids in hex    $2: kind
SELECT id, facility_id, at FROM tombstones
WHERE kind = $2 AND id IN (SELECT unhex(value) FROM json_each($1)) AND facility_id IS NOT NULL
