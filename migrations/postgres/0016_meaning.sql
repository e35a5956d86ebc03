-- As of when the table of facilities had all mapped ones, in milliseconds since 1970: for servers with an earlier mapping than another one, which serve
-- what is stored. The release before does not write it, and does not read it.
ALTER TABLE fleet ADD COLUMN mirrored_ms bigint;

-- As before, and the operators and casts of others, too: one that is made anew may call another function.
CREATE OR REPLACE VIEW mapped_triggers AS
SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(w.tab, w.name, w.wrong) ORDER BY w.tab, w.name) FILTER (WHERE w.wrong IS NOT NULL), '[]'::jsonb) AS off,
       pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.concat_ws(';'::text,
           pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, w.tab, w.name, w.stamp), ','::text ORDER BY w.tab, w.name),
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
