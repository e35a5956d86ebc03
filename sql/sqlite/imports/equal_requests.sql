-- $1 source, $2 of rows with equal values: [[facility in hex, instant, blood type, quantity,
-- equal rows before them in the file, how many there are], …]
SELECT source, sum(min(there - before, count)) AS rows
FROM (
    SELECT mine.value ->> 4 AS before, mine.value ->> 5 AS count, import.source AS source, count(DISTINCT theirs.id) AS there
    FROM json_each($2) AS mine
    CROSS JOIN blood_requests theirs ON theirs.facility_id = unhex(mine.value ->> 0) AND theirs.created_at = CAST(mine.value ->> 1 AS INTEGER)
        AND theirs.blood_type IS (mine.value ->> 2) AND theirs.quantity IS (mine.value ->> 3)
    CROSS JOIN imported_rows noted ON noted.row_id = theirs.id
    CROSS JOIN file_imports import ON import.id = noted.import_id AND import.source <> $1
    GROUP BY mine.key, import.source
) AS equal
WHERE there > before
GROUP BY source
