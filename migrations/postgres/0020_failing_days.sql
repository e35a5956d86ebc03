-- Days whose mapped rows cannot be counted, as an expression of the mapping fails on one of them. Their figures stay as they are: each such row of
-- dashboard_daily_summary ends to hold (next_expires_at) at its as_of, so no watermark counts for it, on any replica. All others go on.
-- date -infinity: which days the facility has cannot be told. tried_at: when it was last counted in vain.
CREATE TABLE failing_day (
    facility_id uuid NOT NULL,
    date        date NOT NULL,
    words       text NOT NULL,
    since       timestamptz NOT NULL DEFAULT statement_timestamp(),
    tried_at    timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (facility_id, date)
);
CREATE INDEX failing_day_whole ON failing_day (facility_id) WHERE date = '-infinity';

-- As before, and: a table that is a part of one that is not watched has its row triggers for every session; a detachment of a partition that is under way
-- changes the stamp. The labels of enums are in mapped_triggers now.
CREATE OR REPLACE VIEW mapped_trigger AS
WITH RECURSIVE part AS (
    SELECT watch.schema_name, watch.tab, watch.suffix, c.oid AS rel
    FROM mapped_watch watch
    LEFT JOIN pg_namespace space ON space.nspname = watch.schema_name::name
    LEFT JOIN pg_class c ON c.relnamespace = space.oid AND c.relname = watch.tab::name
    UNION
    SELECT part.schema_name, part.tab, part.suffix, below.inhrelid FROM part JOIN pg_inherits below ON below.inhparent = part.rel
), below AS MATERIALIZED (
    -- Watched tables of which a part is also a part of another table: a statement that names that one fires row triggers only.
    SELECT DISTINCT part.suffix FROM part JOIN pg_inherits above ON above.inhrelid = part.rel
     WHERE NOT EXISTS (SELECT 1 FROM part AS other WHERE other.suffix = part.suffix AND other.rel = above.inhparent)
)
SELECT part.rel, part.suffix, should.event,
       pg_catalog.concat_ws('.'::text, coalesce(space.nspname::text, part.schema_name), coalesce(c.relname::text, part.tab)) AS tab,
       pg_catalog.concat_ws('_'::text, 'facility_summary'::text, should.event, part.suffix) AS name,
       CASE WHEN c.oid IS NULL THEN 'missing'
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

-- As before, and the labels of all enums: the same rows mean something else under others, whichever type leads to them.
CREATE OR REPLACE VIEW mapped_triggers AS
SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(w.tab, w.name, w.wrong) ORDER BY w.tab, w.name) FILTER (WHERE w.wrong IS NOT NULL), '[]'::jsonb) AS off,
       pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.concat_ws(';'::text,
           pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, w.tab, w.name, w.stamp), ','::text ORDER BY w.tab, w.name),
           (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, e.oid::text, e.enumlabel::text), ','::text ORDER BY e.enumtypid, e.enumsortorder)
              FROM pg_enum e WHERE EXISTS (SELECT 1 FROM mapped_watch)),
           (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, p.oid::text, p.xmin::text), ','::text ORDER BY p.oid)
              FROM pg_proc p JOIN pg_namespace space ON space.oid = p.pronamespace
             WHERE EXISTS (SELECT 1 FROM fleet WHERE mapped_calls) AND NOT pg_catalog.starts_with(space.nspname::text, 'pg_'::text)
               AND space.nspname <> 'information_schema'::name
               AND space.oid <> (SELECT home.relnamespace FROM pg_class home WHERE home.oid = 'summary_marks'::regclass::oid)),
           (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, o.oid::text, o.xmin::text), ','::text ORDER BY o.oid)
              FROM pg_operator o JOIN pg_namespace space ON space.oid = o.oprnamespace
             WHERE EXISTS (SELECT 1 FROM fleet WHERE mapped_calls) AND NOT pg_catalog.starts_with(space.nspname::text, 'pg_'::text)),
           (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, k.oid::text, k.xmin::text), ','::text ORDER BY k.oid)
              FROM pg_cast k
             WHERE EXISTS (SELECT 1 FROM fleet WHERE mapped_calls) AND k.oid >= 16384::oid)), 'UTF8'::name)), 'hex'::text) AS fingerprint
FROM mapped_trigger AS w;
