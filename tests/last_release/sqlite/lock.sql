-- The transaction already is the only writer; what is left is to read the counters.
SELECT facility_id, version, today AS date FROM facility_state WHERE facility_id IN (SELECT unhex(value) FROM json_each($1))
