-- The columns of these tables, in their order. `kind` says what values they have, as far as a mapping
-- has to know it.
SELECT a.attrelid::bigint AS of_table, a.attnum::integer AS number, a.attname::text AS name,
    quote_ident(a.attname::text) AS sql, base.typname::text AS type_name, a.attnotnull AS not_null,
    CASE
        WHEN base.typtype = 'e'::"char" THEN 'enum'
        WHEN base.oid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN 'integer'
        WHEN base.typcategory = 'N'::"char" THEN 'number'
        WHEN base.oid = 'bool'::regtype THEN 'boolean'
        WHEN base.oid = 'date'::regtype THEN 'date'
        WHEN base.oid = 'timestamp'::regtype THEN 'naive'
        WHEN base.oid = 'timestamptz'::regtype THEN 'instant'
        WHEN base.oid = 'uuid'::regtype THEN 'uuid'
        WHEN base.typcategory = 'S'::"char" THEN 'text'
        ELSE 'other'
    END AS kind,
    ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = base.oid ORDER BY e.enumsortorder) AS labels,
    col_description(a.attrelid, a.attnum::integer) AS comment,
    (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum) AS preset,
    has_column_privilege(a.attrelid, a.attnum, 'SELECT'::text) AS may_read
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_type base ON base.oid = CASE WHEN t.typtype = 'd'::"char" THEN t.typbasetype ELSE t.oid END
WHERE a.attrelid = ANY ($1::bigint[]::oid[]) AND a.attnum > 0::smallint AND NOT a.attisdropped
ORDER BY 1, 2
