-- Makes the triggers that leave marks anew. No session of a writer can mislead them, and they
-- notice all writes that triggers can notice.
--   * A SECURITY DEFINER function must not find objects of the writer. Postgres searches pg_temp
--     first if a search_path does not name it, so each function names it last. No function searches
--     our schema, so none finds an operator or function of another role there. A function names
--     each table with the schema of the table that fired the trigger. Views and BEGIN ATOMIC keep the
--     meaning that their names have here. So all of this goes on after the schema was renamed. Only
--     the owner may make triggers of these functions.
--   * A session with session_replication_role = replica fires no ordinary triggers. What a
--     subscription applies fires neither ordinary nor statement triggers. For both there is a
--     trigger for each row, ENABLE REPLICA, which ordinary statements do not fire. The rows that a
--     subscription copies at its beginning fire it, too. TRUNCATE has one trigger, ENABLE ALWAYS.
--   * A mark of the inventory names the blood bank, since the bank may be in another facility when
--     the drain handles the mark. It also names the facility, for the last release.
--   * A transaction of the service says that it refreshes what it writes. It does so with its own
--     number, which neither a session nor ALTER DATABASE can set in advance. The last release sets
--     'on' instead, so its writes leave marks.

ALTER TABLE summary_marks ADD COLUMN blood_bank_id uuid;
-- The fingerprint of triggers and tables (see source_triggers) when the service was last sure that
-- the triggers had noticed all writes.
ALTER TABLE fleet ADD COLUMN triggers_seen text;

-- A trigger that is off may have missed writes. Then all figures are checked: see the end of this
-- file.
SELECT pg_catalog.set_config('facility_summary.were_watching', (SELECT (count(*) = 25::bigint)::text
    FROM pg_trigger
    WHERE tgrelid::oid = ANY (ARRAY['facilities'::regclass::oid, 'blood_banks'::regclass::oid, 'blood_inventory'::regclass::oid,
                                    'blood_distributions'::regclass::oid, 'blood_requests'::regclass::oid])
      AND tgname::text = ANY (ARRAY['mark_insert', 'mark_update_new', 'mark_update_old', 'mark_delete', 'mark_truncate']::text[])
      AND (tgenabled = 'O'::"char" OR tgenabled = 'A'::"char")), true);

-- The watched tables: the kind of their marks, and the columns with the facility and the instant.
-- `made` has the definitions of the triggers as make_triggers made them.
CREATE TABLE source_watch (
    tab      text PRIMARY KEY,
    kind     text NOT NULL,
    facility text NOT NULL, -- empty: the facility is that of the blood bank
    instant  text NOT NULL, -- empty: the table has no instant
    made     jsonb NOT NULL DEFAULT '{}'
);
INSERT INTO source_watch (tab, kind, facility, instant) VALUES
    ('facilities', 'facility', 'id', ''), ('blood_banks', 'stock', 'facility_id', ''), ('blood_inventory', 'stock', '', ''),
    ('blood_distributions', 'activity', 'dispatched_to_id', 'date_delivered'), ('blood_requests', 'activity', 'facility_id', 'created_at');

-- Leaves a mark for each facility, bank or day that a statement touched. The arguments are kind,
-- facility and instant of source_watch. Instants that are in no local day of any zone leave no
-- mark; date_bin cannot count some of them.
CREATE FUNCTION mark_touched() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_ARGV[1] = '' THEN
        -- If this transaction does not see the bank, the drain looks for it. (Foreign keys are not
        -- checked in sessions with session_replication_role = replica.)
        EXECUTE format('INSERT INTO %1$I.summary_marks (kind, facility_id, blood_bank_id)
                        SELECT DISTINCT $1, bank.facility_id, touched.blood_bank_id
                        FROM touched LEFT JOIN %1$I.blood_banks bank ON bank.id = touched.blood_bank_id', TG_TABLE_SCHEMA) USING TG_ARGV[0];
    ELSIF TG_ARGV[2] = '' THEN
        EXECUTE format('INSERT INTO %I.summary_marks (kind, facility_id) SELECT DISTINCT $1, %I FROM touched', TG_TABLE_SCHEMA, TG_ARGV[1])
            USING TG_ARGV[0];
    ELSE
        EXECUTE format('INSERT INTO %1$I.summary_marks (kind, facility_id, first_at, last_at)
                        SELECT $1, %2$I, min(%3$I), max(%3$I) FROM touched
                        WHERE %3$I >= ''0002-01-01 BC+00'' AND %3$I < ''10001-01-01+00''
                        GROUP BY %2$I, date_bin(''1 day'', %3$I, ''epoch'')', TG_TABLE_SCHEMA, TG_ARGV[1], TG_ARGV[2]) USING TG_ARGV[0];
    END IF;
    RETURN NULL;
END $$;

-- Leaves a mark for a row that a session with session_replication_role = replica, or a
-- subscription, wrote. The arguments are the same. A transaction leaves each mark once: a setting
-- keeps the transaction's number and its marks. It ends with the transaction, and is rolled back
-- with the marks.
CREATE FUNCTION mark_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    row_written jsonb;
    facility uuid;
    bank uuid;
    day timestamptz;
    mark text;
    own constant text := pg_current_xact_id()::text || ';';
    marked text;
BEGIN
    FOR row_written IN SELECT to_jsonb(OLD) WHERE TG_OP <> 'INSERT' UNION ALL SELECT to_jsonb(NEW) WHERE TG_OP <> 'DELETE' LOOP
        IF TG_ARGV[1] = '' THEN
            bank := (row_written ->> 'blood_bank_id')::uuid;
            EXECUTE format('SELECT facility_id FROM %I.blood_banks WHERE id = $1', TG_TABLE_SCHEMA) INTO facility USING bank;
        ELSE
            facility := (row_written ->> TG_ARGV[1])::uuid;
        END IF;
        IF TG_ARGV[2] <> '' THEN
            day := (row_written ->> TG_ARGV[2])::timestamptz;
            CONTINUE WHEN day IS NULL OR day < '0002-01-01 BC+00' OR day >= '10001-01-01+00';
            day := date_bin('1 day', day, 'epoch');
        END IF;
        mark := concat_ws(' ', TG_ARGV[0], facility::text, bank::text, extract(epoch FROM day)::text) || ';';
        marked := coalesce(current_setting('facility_summary.marked', true), '');
        marked := CASE WHEN starts_with(marked, own) AND length(marked) < 4000 THEN marked ELSE own END;
        CONTINUE WHEN position(';' || mark IN marked) > 0;
        PERFORM set_config('facility_summary.marked', marked || mark, true);
        EXECUTE format('INSERT INTO %I.summary_marks (kind, facility_id, blood_bank_id, first_at, last_at) VALUES ($1, $2, $3, $4, $5)', TG_TABLE_SCHEMA)
            USING TG_ARGV[0], facility, bank, day, day + interval '1 day' - interval '1 millisecond';
    END LOOP;
    RETURN NULL;
END $$;

-- Marks everything of the kind, since TRUNCATE has no transition table.
CREATE OR REPLACE FUNCTION mark_all() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('INSERT INTO %I.summary_marks (kind) VALUES ($1)', TG_TABLE_SCHEMA) USING TG_ARGV[0];
    RETURN NULL;
END $$;

-- The sources of these functions, to make them again after they were replaced or altered.
CREATE TABLE watch_function (
    name   text PRIMARY KEY,
    source text NOT NULL
);
INSERT INTO watch_function (name, source)
    SELECT proname::text, prosrc FROM pg_proc
    WHERE oid = ANY (ARRAY['mark_touched()'::regprocedure::oid, 'mark_row()'::regprocedure::oid, 'mark_all()'::regprocedure::oid]);

-- Each trigger that should exist, and the trigger that exists in its place. `definition` has all
-- that decides what the trigger does, except `enabled`. `stamp` differs after each change of the
-- trigger, its function or its table, even if the change was reverted. This includes a rewrite of
-- the table that gives rows other values and fires no trigger. (VACUUM FULL, CLUSTER and TRUNCATE
-- look the same.)
CREATE VIEW source_trigger AS
SELECT source.tab, should.name, should.enabled AS should_be_enabled, t.tgenabled AS enabled, t.oid IS NOT NULL AS is_there,
       CASE WHEN c.relkind <> 'r'::"char" THEN 'is_no_ordinary_table'
            WHEN EXISTS (SELECT 1 FROM pg_inherits WHERE inhparent = c.oid) THEN 'has_inheriting_tables' END AS table_wrong,
       source.made ->> should.name::text AS made,
       pg_catalog.concat_ws('|'::text, t.tgtype::text, t.tgattr::text, pg_catalog.encode(t.tgargs, 'escape'::text), t.tgoldtable::text, t.tgnewtable::text,
           t.tgconstraint::text, p.proname::text, (p.pronamespace = home.relnamespace)::text, l.lanname::text,
           p.prosecdef::text, p.proconfig::text, pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(p.prosrc, 'UTF8'::name)), 'hex'::text),
           -- Read without the table, since that would wait for its lock. Our triggers name no
           -- column of the table here.
           CASE WHEN pg_catalog.strpos(t.tgqual::text, '{VAR '::text) = 0 THEN pg_catalog.pg_get_expr(t.tgqual, 0::oid) ELSE t.tgqual::text END) AS definition,
       pg_catalog.concat_ws('|'::text, t.xmin::text, p.xmin::text, c.oid::text, c.relfilenode::text,
           (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, a.attnum::text, a.attname::text, a.atttypid::text), ','::text ORDER BY a.attnum)
              FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0::smallint AND NOT a.attisdropped)) AS stamp
FROM source_watch source
CROSS JOIN (VALUES ('mark_insert'::name, 'O'::"char"), ('mark_update_new', 'O'), ('mark_update_old', 'O'), ('mark_delete', 'O'), ('mark_truncate', 'A'), ('mark_row', 'R'))
    AS should (name, enabled)
JOIN pg_class home ON home.oid = 'summary_marks'::regclass::oid
LEFT JOIN pg_class c ON c.relnamespace = home.relnamespace AND c.relname = source.tab::name
LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = should.name
LEFT JOIN pg_proc p ON p.oid = t.tgfoid
LEFT JOIN pg_language l ON l.oid = p.prolang;

-- One row. `off` has [table, trigger, what is wrong] of each trigger that does not work;
-- `fingerprint` is a hash of all stamps; `remedy` is the statement that repairs the triggers,
-- except those of a table that cannot be watched.
CREATE VIEW source_triggers AS
SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(w.tab, w.name, w.wrong) ORDER BY w.tab, w.name) FILTER (WHERE w.wrong IS NOT NULL), '[]'::jsonb) AS off,
       pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(
           pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, w.tab, w.name::text, w.enabled::text, w.stamp), ','::text ORDER BY w.tab, w.name), 'UTF8'::name)), 'hex'::text) AS fingerprint,
       pg_catalog.concat_ws(''::text, 'SELECT '::text, (SELECT pg_catalog.quote_ident(n.nspname::text) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                                       WHERE c.oid = 'summary_marks'::regclass::oid), '.watch_sources()'::text) AS remedy
FROM (SELECT *, CASE WHEN table_wrong IS NOT NULL THEN table_wrong WHEN NOT is_there THEN 'missing' WHEN enabled = 'D'::"char" THEN 'disabled'
                     WHEN enabled <> should_be_enabled THEN 'enabled_otherwise' WHEN definition IS DISTINCT FROM made THEN 'altered' END AS wrong
      FROM source_trigger) AS w;

-- Makes all triggers and their functions again, in the schema of the tables.
CREATE FUNCTION make_triggers(home text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    func record;
    source record;
    -- %1$s table, %2$I schema, %3$s arguments.
    make constant text := $make$
        CREATE OR REPLACE TRIGGER mark_insert AFTER INSERT ON %1$s REFERENCING NEW TABLE AS touched FOR EACH STATEMENT
            WHEN (current_setting('facility_summary.refreshes', true) IS DISTINCT FROM pg_current_xact_id_if_assigned()::text) EXECUTE FUNCTION %2$I.mark_touched(%3$s);
        CREATE OR REPLACE TRIGGER mark_update_new AFTER UPDATE ON %1$s REFERENCING NEW TABLE AS touched FOR EACH STATEMENT
            WHEN (current_setting('facility_summary.refreshes', true) IS DISTINCT FROM pg_current_xact_id_if_assigned()::text) EXECUTE FUNCTION %2$I.mark_touched(%3$s);
        CREATE OR REPLACE TRIGGER mark_update_old AFTER UPDATE ON %1$s REFERENCING OLD TABLE AS touched FOR EACH STATEMENT
            WHEN (current_setting('facility_summary.refreshes', true) IS DISTINCT FROM pg_current_xact_id_if_assigned()::text) EXECUTE FUNCTION %2$I.mark_touched(%3$s);
        CREATE OR REPLACE TRIGGER mark_delete AFTER DELETE ON %1$s REFERENCING OLD TABLE AS touched FOR EACH STATEMENT
            WHEN (current_setting('facility_summary.refreshes', true) IS DISTINCT FROM pg_current_xact_id_if_assigned()::text) EXECUTE FUNCTION %2$I.mark_touched(%3$s);
        CREATE OR REPLACE TRIGGER mark_truncate AFTER TRUNCATE ON %1$s FOR EACH STATEMENT EXECUTE FUNCTION %2$I.mark_all(%3$s);
        CREATE OR REPLACE TRIGGER mark_row AFTER INSERT OR UPDATE OR DELETE ON %1$s FOR EACH ROW
            WHEN (current_setting('facility_summary.refreshes', true) IS DISTINCT FROM pg_current_xact_id_if_assigned()::text) EXECUTE FUNCTION %2$I.mark_row(%3$s);
        ALTER TABLE %1$s ENABLE TRIGGER mark_insert, ENABLE TRIGGER mark_update_new, ENABLE TRIGGER mark_update_old,
            ENABLE TRIGGER mark_delete, ENABLE ALWAYS TRIGGER mark_truncate, ENABLE REPLICA TRIGGER mark_row;
    $make$;
BEGIN
    FOR func IN EXECUTE format('SELECT * FROM %I.watch_function', home) LOOP
        EXECUTE format('CREATE OR REPLACE FUNCTION %1$I.%2$I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %3$L;
                        REVOKE ALL ON FUNCTION %1$I.%2$I() FROM PUBLIC', home, func.name, func.source);
    END LOOP;
    FOR source IN EXECUTE format('SELECT * FROM %I.source_watch', home) LOOP
        -- Only an ordinary table can be watched completely.
        CONTINUE WHEN 'r' IS DISTINCT FROM (SELECT relkind::text FROM pg_class WHERE oid = to_regclass(format('%I.%I', home, source.tab)));
        EXECUTE format(make, format('%I.%I', home, source.tab), home, format('%L, %L, %L', source.kind, source.facility, source.instant));
    END LOOP;
    EXECUTE format('UPDATE %1$I.source_watch AS source SET made = now.made
                    FROM (SELECT tab, jsonb_object_agg(name, definition) AS made FROM %1$I.source_trigger
                          WHERE is_there AND table_wrong IS NULL GROUP BY tab) AS now
                    WHERE source.tab = now.tab AND source.made <> now.made', home);
END $$;

-- The owner of the tables calls this to repair triggers.
CREATE FUNCTION watch_sources() RETURNS void LANGUAGE sql BEGIN ATOMIC
    SELECT make_triggers((SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = 'summary_marks'::regclass::oid));
END;

-- fleet_epoch gives the same answer as before. It has two parts now, so that the table's name is
-- resolved here, and PL/pgSQL plans the rest once a session.
CREATE FUNCTION epoch_of(salt text, summaries oid) RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN NULL;
    END IF;
    RETURN concat_ws('/', (SELECT system_identifier FROM pg_control_system()), left(pg_walfile_name(pg_current_wal_lsn()), 8),
                     (SELECT oid FROM pg_database WHERE datname = current_database()), summaries, salt);
END $$;
CREATE OR REPLACE FUNCTION fleet_epoch(salt text) RETURNS text LANGUAGE sql BEGIN ATOMIC
    SELECT epoch_of(salt, 'dashboard_daily_summary'::regclass::oid);
END;

REVOKE ALL ON FUNCTION make_triggers(text), watch_sources() FROM PUBLIC;
SELECT watch_sources();
DROP FUNCTION mark_inventory(), mark_distributions(), mark_requests(), mark_blood_banks(), mark_facilities();
UPDATE fleet SET triggers_seen = (SELECT fingerprint FROM source_triggers) WHERE current_setting('facility_summary.were_watching') = 'true';
