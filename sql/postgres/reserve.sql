-- Takes these advisory locks of class $1, one after the other: $2 which, in order; $3 whether
-- exclusively.
SELECT pg_catalog.count(CASE WHEN exclusive THEN pg_advisory_xact_lock($1::integer, bucket) ELSE pg_advisory_xact_lock_shared($1::integer, bucket) END)
FROM (SELECT pg_catalog.unnest($2::integer[]) AS bucket, pg_catalog.unnest($3::boolean[]) AS exclusive) AS b
