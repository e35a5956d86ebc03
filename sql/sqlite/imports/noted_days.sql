SELECT d.facility_id, d.date, d.import_id, d.turn, d.recorded, d.before
FROM json_each($1) AS asked
CROSS JOIN imported_days d ON d.facility_id = unhex(asked.value ->> 0) AND d.date = asked.value ->> 1
