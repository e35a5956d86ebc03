-- Moves what triggers on mapped tables noted to the marks, where each gets an id: at most $1 rows.
-- In the transaction of a drain snapshot, so that the snapshot shows them as marks.
WITH taken AS (
    DELETE FROM noticed_rows WHERE ctid = ANY (ARRAY(SELECT ctid FROM noticed_rows LIMIT $1))
    RETURNING pg_catalog.split_part(mark, ' '::text, 1) AS kind, nullif(pg_catalog.substr(mark, strpos(mark || ' '::text, ' '::text) + 1), ''::text) AS via, noted
)
INSERT INTO summary_marks (kind, via, via_row)
SELECT kind, via, CASE WHEN via IS NOT NULL THEN pg_catalog.to_jsonb(noted) END FROM taken
