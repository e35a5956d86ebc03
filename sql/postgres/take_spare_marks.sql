-- Marks of every facility, in the place of those that a trigger could not write, and of all that
-- triggers noted: it would say less.
WITH spare AS (DELETE FROM spare_marks RETURNING kind),
     noticed AS (DELETE FROM noticed_rows RETURNING pg_catalog.split_part(mark, ' '::text, 1) AS kind),
     taken AS (SELECT kind FROM spare UNION ALL SELECT kind FROM noticed)
INSERT INTO summary_marks (kind, via)
SELECT DISTINCT CASE WHEN kind = 'facilities' THEN 'facility' ELSE kind END, CASE WHEN kind = 'facilities' THEN kind END FROM taken
