-- Up to where the counter stands now, versions are of the life that has ended: what other tiers hold of them counts no more.
UPDATE facility_state SET removed_at_version = version WHERE facility_id IN (SELECT unhex(value) FROM json_each($1))
