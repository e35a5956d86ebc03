SELECT f.id, f.name, f.timezone, ifnull(state.removed_at_version, 0)
FROM facilities AS f LEFT JOIN facility_state AS state ON state.facility_id = f.id
WHERE f.id IN (SELECT unhex(value) FROM json_each($1))
