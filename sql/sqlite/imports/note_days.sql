-- $1: [[facility in hex, date, import, turn, recorded, before], …]
INSERT INTO imported_days (facility_id, date, import_id, turn, recorded, before)
SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each($1) WHERE true
ON CONFLICT (facility_id, date, import_id) DO UPDATE SET turn = excluded.turn, recorded = excluded.recorded, before = excluded.before
