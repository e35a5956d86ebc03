DELETE FROM imported_days WHERE import_id = $1
    AND (facility_id, date) IN (SELECT unhex(value ->> 0), value ->> 1 FROM json_each($2))
