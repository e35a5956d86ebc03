-- $1: [[row in hex, import, content, is facility, wrote, hidden], …]
INSERT INTO imported_rows (row_id, import_id, content, is_facility, wrote, hidden)
SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each($1) WHERE true
ON CONFLICT (row_id, import_id) DO UPDATE SET content = excluded.content, wrote = excluded.wrote, hidden = excluded.hidden WHERE excluded.wrote
