-- Marks of every facility, in the place of those that a trigger could not write.
WITH taken AS (DELETE FROM spare_marks RETURNING kind)
INSERT INTO summary_marks (kind, via)
SELECT DISTINCT CASE WHEN kind = 'facilities' THEN 'facility' ELSE kind END, CASE WHEN kind = 'facilities' THEN kind END FROM taken
