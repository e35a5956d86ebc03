-- $1: [[facility in hex, date], …]
UPDATE facility_state SET today = o.value ->> 1 FROM json_each($1) AS o WHERE facility_id = unhex(o.value ->> 0)
