-- Notes days whose mapped rows cannot be counted. $1 facility ids, $2 dates, $3 words.
INSERT INTO failing_day AS failing (facility_id, date, words)
SELECT k.facility_id, k.date::date, k.words FROM unnest($1::uuid[], $2::text[], $3::text[]) AS k (facility_id, date, words)
ON CONFLICT (facility_id, date) DO UPDATE SET words = excluded.words, tried_at = excluded.tried_at
