-- The columns of the tables with these ids ($1) or names ($2), whether this role may read each, and whether row-level security may hide rows of the table from it; and where the ids are those of objects: in which server, database and installation.
SELECT c.oid::bigint AS table_id, pg_catalog.concat_ws('.'::text, pg_catalog.quote_ident(n.nspname::text), pg_catalog.quote_ident(c.relname::text)) AS table_name,
       a.attnum AS number, a.attname::text AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type_name,
       ARRAY(WITH RECURSIVE made_of AS (
                 SELECT a.atttypid AS oid
                 UNION
                 SELECT pg_catalog.unnest(pg_catalog.array_cat(ARRAY[t.typbasetype, t.typelem],
                            ARRAY(SELECT x.atttypid FROM pg_attribute x WHERE x.attrelid = t.typrelid AND x.attnum > 0::smallint AND NOT x.attisdropped)))
                   FROM made_of JOIN pg_type t ON t.oid = made_of.oid)
             SELECT e.enumlabel::text FROM made_of JOIN pg_enum e ON e.enumtypid = made_of.oid ORDER BY e.enumtypid, e.enumsortorder) AS labels,
       pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'::text) AS may_be_read,
       pg_catalog.row_security_active(c.oid) AS hides_rows,
       (SELECT pg_catalog.concat_ws('/'::text, server_identifier(), d.oid, 'fleet'::regclass::oid) FROM pg_database d WHERE d.datname = current_database()) AS home
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0::smallint AND NOT a.attisdropped
WHERE c.relkind::text = ANY (ARRAY['r', 'p', 'v', 'm', 'f']::text[])
  AND (c.oid::bigint = ANY ($1::bigint[]) OR c.oid = ANY (ARRAY(SELECT pg_catalog.to_regclass(name)::oid FROM pg_catalog.unnest($2::text[]) AS names (name))))
ORDER BY c.oid, a.attnum
