INSERT INTO imported_rows AS noted (row_id, import_id, content, is_facility, wrote, hidden)
SELECT * FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::boolean[], $5::boolean[], $6::text[])
ON CONFLICT (row_id, import_id) DO UPDATE SET content = excluded.content, wrote = excluded.wrote, hidden = excluded.hidden WHERE excluded.wrote
