-- The tables of other programs, with what their owners say about them. A partition is part of its root.
SELECT c.oid::bigint AS id, quote_ident(n.nspname::text) AS schema, c.relname::text AS name,
    quote_ident(n.nspname::text) || '.' || quote_ident(c.relname::text) AS sql,
    obj_description(c.oid, 'pg_class'::name) AS comment,
    CASE WHEN c.relkind = 'p'::"char" THEN (SELECT coalesce(sum(greatest(leaf.reltuples, 0::real)), 0::real)::bigint
        FROM pg_inherits i JOIN pg_class leaf ON leaf.oid = i.inhrelid WHERE i.inhparent = c.oid)
        ELSE c.reltuples::bigint END AS rows
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r'::"char", 'p'::"char") AND NOT c.relispartition AND c.relpersistence = 'p'::"char"
    AND n.nspname <> 'information_schema'::name AND NOT starts_with(n.nspname::text, 'pg_'::text)
    AND n.nspname <> $1::text::name
    AND NOT EXISTS (SELECT FROM pg_class ours WHERE ours.relnamespace = n.oid AND ours.relname = 'summary_marks'::name)
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass::oid AND d.objid = c.oid AND d.deptype = 'e'::"char")
ORDER BY 2, 3
