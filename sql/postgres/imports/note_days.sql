INSERT INTO imported_days (facility_id, date, import_id, turn, recorded, before)
SELECT facility_id, date::date, import_id, turn, recorded, before
FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::bigint[], $5::text[], $6::text[]) AS n (facility_id, date, import_id, turn, recorded, before)
ON CONFLICT (facility_id, date, import_id) DO UPDATE SET turn = excluded.turn, recorded = excluded.recorded, before = excluded.before
