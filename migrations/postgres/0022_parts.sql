-- As before, and: a temporary table that inherits from a watched one is no part of it, as no other session sees its rows; a part that is a foreign
-- table has a name of its own, since Postgres lets no statement write to it through a table with our triggers.
CREATE OR REPLACE VIEW mapped_trigger AS
WITH RECURSIVE part AS (
    SELECT watch.schema_name, watch.tab, watch.suffix, c.oid AS rel
    FROM mapped_watch watch
    LEFT JOIN pg_namespace space ON space.nspname = watch.schema_name::name
    LEFT JOIN pg_class c ON c.relnamespace = space.oid AND c.relname = watch.tab::name
    UNION
    SELECT part.schema_name, part.tab, part.suffix, below.inhrelid FROM part JOIN pg_inherits below ON below.inhparent = part.rel
      JOIN pg_class child ON child.oid = below.inhrelid WHERE child.relpersistence <> 't'::"char"
), below AS MATERIALIZED (
    -- Watched tables of which a part is also a part of another table: a statement that names that one fires row triggers only.
    SELECT DISTINCT part.suffix FROM part JOIN pg_inherits above ON above.inhrelid = part.rel
     WHERE NOT EXISTS (SELECT 1 FROM part AS other WHERE other.suffix = part.suffix AND other.rel = above.inhparent)
)
SELECT part.rel, part.suffix, should.event,
       pg_catalog.concat_ws('.'::text, coalesce(space.nspname::text, part.schema_name), coalesce(c.relname::text, part.tab)) AS tab,
       pg_catalog.concat_ws('_'::text, 'facility_summary'::text, should.event, part.suffix) AS name,
       CASE WHEN c.oid IS NULL THEN 'missing'
            WHEN c.relkind = 'f'::"char" THEN 'is_a_foreign_table'
            WHEN c.relkind <> 'r'::"char" AND c.relkind <> 'p'::"char" THEN 'is_no_ordinary_table'
            WHEN c.relispartition AND (space.nspname::text, c.relname::text) IS DISTINCT FROM (part.schema_name, part.tab) AND row_trigger.tgenabled = 'A'::"char" AND should.event <> 'row' AND c.relkind = 'r'::"char" THEN NULL
            WHEN t.oid IS NULL THEN 'missing'
            WHEN t.tgenabled = 'D'::"char" THEN 'disabled'
            WHEN t.tgenabled <> CASE WHEN should.event = 'truncate' THEN 'A'::"char" WHEN should.event <> 'row' THEN 'O'::"char"
                                     WHEN c.relkind = 'p'::"char" OR part.suffix IN (SELECT below.suffix FROM below) OR (c.relispartition AND t.tgenabled = 'A'::"char") THEN 'A'::"char" ELSE 'R'::"char" END THEN 'enabled_otherwise'
            WHEN t.tgtype <> should.tgtype OR t.tgqual IS NOT NULL OR t.tgnargs <> 0::smallint
                 OR t.tgoldtable IS DISTINCT FROM should.old_rows OR t.tgnewtable IS DISTINCT FROM should.new_rows
                 OR p.pronamespace <> home.relnamespace OR p.proname::text <> pg_catalog.concat_ws('_'::text, 'notice'::text, part.suffix)
                 OR p.prosrc <> watch.source OR NOT p.prosecdef OR p.proconfig IS NOT NULL THEN 'altered' END AS wrong,
       pg_catalog.concat_ws('|'::text, t.xmin::text, t.tgenabled::text, p.xmin::text, c.oid::text, c.xmin::text, c.relfilenode::text,
           CASE WHEN should.event = 'row' THEN
               (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, a.attnum::text, a.attname::text, a.atttypid::text), ','::text ORDER BY a.attnum)
                  FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0::smallint AND NOT a.attisdropped) END,
           -- A detachment that is under way, or was broken off: its rows are seen no more. (Postgres 13 has no such column.)
           CASE WHEN should.event = 'row' THEN
               (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, above.inhparent::text, pg_catalog.to_jsonb(above) ->> 'inhdetachpending'::text), ','::text
                                             ORDER BY above.inhparent)
                  FROM pg_inherits above WHERE above.inhrelid = c.oid) END,
           CASE WHEN c.relpersistence = 'u'::"char" THEN
               pg_catalog.concat_ws(' '::text, extract(epoch FROM pg_catalog.pg_postmaster_start_time())::text,
                                    extract(epoch FROM pg_catalog.pg_stat_get_bgwriter_stat_reset_time())::text) END) AS stamp
FROM part
JOIN mapped_watch watch ON watch.suffix = part.suffix
CROSS JOIN (VALUES ('insert', 4::smallint, NULL::name, 'new_rows'::name), ('update', 16, 'old_rows', 'new_rows'), ('delete', 8, 'old_rows', NULL),
                   ('truncate', 32, NULL, NULL), ('row', 29, NULL, NULL)) AS should (event, tgtype, old_rows, new_rows)
JOIN pg_class home ON home.oid = 'summary_marks'::regclass::oid
LEFT JOIN pg_class c ON c.oid = part.rel
LEFT JOIN pg_namespace space ON space.oid = c.relnamespace
LEFT JOIN pg_trigger t ON t.tgrelid = part.rel AND t.tgname = pg_catalog.concat_ws('_'::text, 'facility_summary'::text, should.event, part.suffix)::name
LEFT JOIN pg_trigger row_trigger ON row_trigger.tgrelid = part.rel AND row_trigger.tgname = pg_catalog.concat_ws('_'::text, 'facility_summary_row'::text, part.suffix)::name
LEFT JOIN pg_proc p ON p.oid = t.tgfoid;
