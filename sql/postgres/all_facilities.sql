SELECT f.id, f.name, f.timezone, coalesce(state.removed_at_version, 0) AS removed_at_version
FROM facilities f LEFT JOIN facility_state state ON state.facility_id = f.id
