DELETE FROM tombstones WHERE kind = $2 AND id IN (SELECT unhex(value) FROM json_each($1))
