SELECT f.id, f.name, f.timezone, ifnull(state.removed_at_version, 0)
FROM facilities AS f LEFT JOIN facility_state AS state ON state.facility_id = f.id
