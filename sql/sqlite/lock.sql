-- The transaction already is the only writer; what is left is to read the counters.
-- Versions go on above what a history that has ended may have handed out.
SELECT facility_id, max(version, ifnull((SELECT versions_from FROM fleet), 0)), today AS date, removed_at_version FROM facility_state WHERE facility_id IN (SELECT unhex(value) FROM json_each($1))
