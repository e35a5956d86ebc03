-- This transaction is the only writer, so only the counters have to be read. Versions continue
-- above what an ended epoch may have given out.
SELECT facility_id, max(version, ifnull((SELECT versions_from FROM fleet), 0)), today AS date, removed_at_version FROM facility_state WHERE facility_id IN (SELECT unhex(value) FROM json_each($1))
