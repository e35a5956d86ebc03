-- $1 source; of rows with equal values: $2 facility, $3 instant in milliseconds, $4 blood type, $5
-- quantity, $6 equal rows before them in the file, $7 how many there are.
SELECT source, sum(least(greatest(there - before, 0), count))::bigint AS rows
FROM (
    SELECT mine.n, mine.before, mine.count, import.source, count(DISTINCT theirs.id) AS there
    FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::integer[], $6::bigint[], $7::bigint[]) WITH ORDINALITY
        AS mine (facility_id, at_ms, blood_type, quantity, before, count, n)
    JOIN blood_requests theirs ON theirs.facility_id = mine.facility_id AND theirs.created_at = to_timestamp(mine.at_ms / 1000.0::float8)
        AND theirs.blood_type::text IS NOT DISTINCT FROM mine.blood_type AND theirs.quantity IS NOT DISTINCT FROM mine.quantity
    JOIN imported_rows noted ON noted.row_id = theirs.id
    JOIN file_imports import ON import.id = noted.import_id AND import.source <> $1
    GROUP BY mine.n, mine.before, mine.count, import.source
) AS equal
WHERE there > before
GROUP BY source
