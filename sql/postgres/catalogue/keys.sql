-- Primary, unique and foreign keys of these tables: `kind` is p, u or f.
SELECT c.conrelid::bigint AS of_table, c.contype::text AS kind, c.conkey::integer[] AS columns,
    nullif(c.confrelid, 0::oid)::bigint AS target, coalesce(c.confkey::integer[], '{}'::integer[]) AS target_columns
FROM pg_constraint c
WHERE c.conrelid = ANY ($1::bigint[]::oid[]) AND c.contype IN ('p'::"char", 'u'::"char", 'f'::"char")
ORDER BY 1, c.conkey, c.oid
