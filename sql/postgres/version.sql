SELECT coalesce((SELECT version FROM facility_state WHERE facility_id = $1), 0)
