-- What other programs write to mapped tables (`[sources]`) may be noticed by triggers, which `adopt install` makes. Replicas of the release before go on
-- working: to them, a mark that is yet to be resolved is one of every facility.

-- via: which table of the mapping changed; via_row: the values that lead to facilities, an array for each changed row. facility_id is null meanwhile.
ALTER TABLE summary_marks ADD COLUMN via text, ADD COLUMN via_row jsonb;

-- Marks of every facility, for a trigger that could not write its mark: because summary_marks was locked, or because the table that fired it was altered.
CREATE TABLE spare_marks (kind text NOT NULL);

-- A trigger waits for no lock on these tables. So VACUUM must take none that would be in its way, which it does to give free pages back.
ALTER TABLE summary_marks SET (vacuum_truncate = false);
ALTER TABLE spare_marks SET (vacuum_truncate = false);

-- The mapped tables that are watched. suffix: the end of the names of our triggers and of their function; source: what that function is made of.
CREATE TABLE mapped_watch (
    schema_name text NOT NULL,
    tab         text NOT NULL,
    suffix      text NOT NULL UNIQUE,
    source      text NOT NULL,
    PRIMARY KEY (schema_name, tab)
);
-- mapped_plan: what the triggers were made for. mapped_seen: the triggers as they were when it was last made sure that nothing was written past them.
ALTER TABLE fleet ADD COLUMN mapped_plan text, ADD COLUMN mapped_seen text;

-- Each trigger that there should be on a watched table, and on each of its partitions and inheriting tables; and what there is in its place. A row trigger
-- fires for replicas only where there are statement triggers. On a partitioned table it is always on, and the server copies it to partitions that are
-- attached later: those need no others. `stamp` is another after each change of the trigger, its function or its table.
CREATE VIEW mapped_trigger AS
WITH RECURSIVE part AS (
    SELECT watch.schema_name, watch.tab, watch.suffix, c.oid AS rel
    FROM mapped_watch watch
    LEFT JOIN pg_namespace space ON space.nspname = watch.schema_name::name
    LEFT JOIN pg_class c ON c.relnamespace = space.oid AND c.relname = watch.tab::name
    UNION
    SELECT part.schema_name, part.tab, part.suffix, below.inhrelid FROM part JOIN pg_inherits below ON below.inhparent = part.rel
)
SELECT part.rel, part.suffix, should.event,
       pg_catalog.concat_ws('.'::text, coalesce(space.nspname::text, part.schema_name), coalesce(c.relname::text, part.tab)) AS tab,
       pg_catalog.concat_ws('_'::text, 'facility_summary'::text, should.event, part.suffix) AS name,
       CASE WHEN c.oid IS NULL THEN 'missing'
            WHEN c.relkind <> 'r'::"char" AND c.relkind <> 'p'::"char" THEN 'is_no_ordinary_table'
            WHEN c.relispartition AND row_trigger.tgenabled = 'A'::"char" AND should.event <> 'row' AND c.relkind = 'r'::"char" THEN NULL
            WHEN t.oid IS NULL THEN 'missing'
            WHEN t.tgenabled = 'D'::"char" THEN 'disabled'
            WHEN t.tgenabled <> CASE WHEN should.event = 'truncate' THEN 'A'::"char" WHEN should.event <> 'row' THEN 'O'::"char"
                                     WHEN c.relkind = 'p'::"char" OR (c.relispartition AND t.tgenabled = 'A'::"char") THEN 'A'::"char" ELSE 'R'::"char" END THEN 'enabled_otherwise'
            WHEN t.tgtype <> should.tgtype OR t.tgqual IS NOT NULL OR t.tgnargs <> 0::smallint
                 OR t.tgoldtable IS DISTINCT FROM should.old_rows OR t.tgnewtable IS DISTINCT FROM should.new_rows
                 OR p.pronamespace <> home.relnamespace OR p.proname::text <> pg_catalog.concat_ws('_'::text, 'notice'::text, part.suffix)
                 OR p.prosrc <> watch.source OR NOT p.prosecdef OR p.proconfig IS NOT NULL THEN 'altered' END AS wrong,
       pg_catalog.concat_ws('|'::text, t.xmin::text, t.tgenabled::text, p.xmin::text, c.oid::text, c.relfilenode::text,
           CASE WHEN should.event = 'row' THEN
               (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, a.attnum::text, a.attname::text, a.atttypid::text), ','::text ORDER BY a.attnum)
                  FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0::smallint AND NOT a.attisdropped) END) AS stamp
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

-- One row. `off`: [table, trigger, what is wrong] of each that does not watch; `fingerprint`: of all stamps.
CREATE VIEW mapped_triggers AS
SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(w.tab, w.name, w.wrong) ORDER BY w.tab, w.name) FILTER (WHERE w.wrong IS NOT NULL), '[]'::jsonb) AS off,
       pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(coalesce(
           pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, w.tab, w.name, w.stamp), ','::text ORDER BY w.tab, w.name), ''::text), 'UTF8'::name)), 'hex'::text) AS fingerprint
FROM mapped_trigger AS w;
