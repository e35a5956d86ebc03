-- What triggers on mapped tables note: which kind of mark and which way, and the values that lead to facilities. A writer of the owner waits until it is
-- written, so it has no key and no index. Each drain snapshot moves the rows that it shows to summary_marks. Replicas of the release before do not look here:
-- triggers that write here are made for another plan than theirs, on which they do not rely.

-- mark: the kind, and behind a space the way; the kind alone is of every facility. noted: an element for each changed row, as the way reads it.
CREATE TABLE noticed_rows (mark text NOT NULL, noted text[] NOT NULL);

-- To compress the values takes longer than to write them. VACUUM gives free pages back, since each drain snapshot reads the whole table: for that moment,
-- triggers leave spare marks.
ALTER TABLE noticed_rows ALTER COLUMN noted SET STORAGE EXTERNAL;

-- Without a key the server refuses to delete rows while a publication has the table: as one FOR ALL TABLES has.
ALTER TABLE noticed_rows REPLICA IDENTITY FULL;
ALTER TABLE spare_marks REPLICA IDENTITY FULL;

-- As before, but `stamp` is another as well after each change of the table's own row in pg_class: where a table began to inherit from it, or it had another
-- name, rows were there that passed the triggers by, although all is as before now. It holds the labels
-- of enums, too: the same rows mean something else under others. A crash empties
-- an unlogged table, so its stamp is of one run of the server: a crash of one session, after which the server goes on, resets the statistics.
CREATE OR REPLACE VIEW mapped_trigger AS
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
       pg_catalog.concat_ws('|'::text, t.xmin::text, t.tgenabled::text, p.xmin::text, c.oid::text, c.xmin::text, c.relfilenode::text,
           CASE WHEN should.event = 'row' THEN
               (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, a.attnum::text, a.attname::text, a.atttypid::text), ','::text ORDER BY a.attnum)
                  FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0::smallint AND NOT a.attisdropped) END,
           CASE WHEN should.event = 'row' THEN
               (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, e.oid::text, e.enumlabel::text), ','::text ORDER BY e.enumtypid, e.enumsortorder)
                  FROM pg_enum e WHERE e.enumtypid IN (
                      SELECT pg_catalog.unnest(ARRAY[a.atttypid, kind.typelem, kind.typbasetype]) FROM pg_attribute a JOIN pg_type kind ON kind.oid = a.atttypid
                       WHERE a.attrelid = c.oid AND a.attnum > 0::smallint AND NOT a.attisdropped)) END,
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

-- Whether the mapping calls functions of the owner's. They, or what they call, may be replaced, and then mean something else.
ALTER TABLE fleet ADD COLUMN mapped_calls boolean NOT NULL DEFAULT true;
CREATE OR REPLACE VIEW mapped_triggers AS
SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(w.tab, w.name, w.wrong) ORDER BY w.tab, w.name) FILTER (WHERE w.wrong IS NOT NULL), '[]'::jsonb) AS off,
       pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.concat_ws(';'::text,
           pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, w.tab, w.name, w.stamp), ','::text ORDER BY w.tab, w.name),
           (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, p.oid::text, p.xmin::text), ','::text ORDER BY p.oid)
              FROM pg_proc p JOIN pg_namespace space ON space.oid = p.pronamespace
             WHERE EXISTS (SELECT 1 FROM fleet WHERE mapped_calls) AND NOT pg_catalog.starts_with(space.nspname::text, 'pg_'::text)
               AND space.nspname <> 'information_schema'::name
               AND space.oid <> (SELECT home.relnamespace FROM pg_class home WHERE home.oid = 'summary_marks'::regclass::oid))), 'UTF8'::name)), 'hex'::text) AS fingerprint
FROM mapped_trigger AS w;
