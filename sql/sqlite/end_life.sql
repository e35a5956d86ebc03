-- Versions up to the counter now belong to the former life, and count in no tier.
UPDATE facility_state SET removed_at_version = version WHERE facility_id IN (SELECT unhex(value) FROM json_each($1))
