-- The triggers that leave marks, made anew: safe with whatever a writer has in its session, and seeing whatever can be seen.
--   * A SECURITY DEFINER function must find nothing of the writer's. pg_temp is searched first where a search_path does not name it, so
--     each names it, last; our schema is in none of them, so that nobody's operator or function is found there, and every table is
--     written with its schema: the one that the tables lie in now. Nobody but the owner may make triggers of them.
--   * Writers with session_replication_role = replica, and what a subscription applies, fire neither ordinary triggers nor (the latter)
--     statement triggers: for those there is one trigger for each row, ENABLE REPLICA, of which ordinary statements know nothing. What a
--     subscription copies at its beginning fires it, too. TRUNCATE has one trigger, ENABLE ALWAYS.
--   * A mark of the inventory names the blood bank: what is true of that when the drain comes is not what was when the statement ran. Its
--     facility is named as well, for the release before.

ALTER TABLE summary_marks ADD COLUMN blood_bank_id uuid;
-- The triggers (see source_triggers) as they were when it was last made sure that nothing was written past them.
ALTER TABLE fleet ADD COLUMN triggers_seen text;

DO $migration$
DECLARE
    home constant text := (SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                           WHERE c.oid = 'summary_marks'::regclass);
    -- One that was off may have missed something; then all figures are looked at.
    were_watching constant boolean := 25 = (
        SELECT count(*) FROM pg_catalog.pg_trigger
        WHERE tgrelid IN ('facilities'::regclass, 'blood_banks'::regclass, 'blood_inventory'::regclass, 'blood_distributions'::regclass, 'blood_requests'::regclass)
          AND tgname IN ('mark_insert', 'mark_update_new', 'mark_update_old', 'mark_delete', 'mark_truncate') AND tgenabled IN ('O', 'A'));
    -- For each table: the function of its statement triggers, the kind of its marks, and the columns that say which facility and when.
    sources constant text := $list$(VALUES
        ('facilities', 'mark_facilities', 'facility', 'id', ''), ('blood_banks', 'mark_blood_banks', 'stock', 'facility_id', ''),
        ('blood_inventory', 'mark_inventory', 'stock', '', ''), ('blood_distributions', 'mark_distributions', 'activity', 'dispatched_to_id', 'date_delivered'),
        ('blood_requests', 'mark_requests', 'activity', 'facility_id', 'created_at')) AS source (tab, func, kind, facility, instant)$list$;
    func text;
BEGIN
    EXECUTE format($make$
        CREATE OR REPLACE FUNCTION %1$I.mark_inventory() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            -- A bank that this transaction does not see (foreign keys are not checked for a replica) is looked for by the drain.
            INSERT INTO %1$I.summary_marks (kind, facility_id, blood_bank_id)
            SELECT DISTINCT 'stock', bank.facility_id, touched.blood_bank_id
            FROM touched LEFT JOIN %1$I.blood_banks bank ON bank.id = touched.blood_bank_id;
            RETURN NULL;
        END $body$;

        CREATE OR REPLACE FUNCTION %1$I.mark_distributions() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            INSERT INTO %1$I.summary_marks (kind, facility_id, first_at, last_at)
            SELECT 'activity', dispatched_to_id, min(date_delivered), max(date_delivered) FROM touched
            WHERE isfinite(date_delivered)
            GROUP BY dispatched_to_id, date_bin('1 day', date_delivered, 'epoch');
            RETURN NULL;
        END $body$;

        CREATE OR REPLACE FUNCTION %1$I.mark_requests() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            INSERT INTO %1$I.summary_marks (kind, facility_id, first_at, last_at)
            SELECT 'activity', facility_id, min(created_at), max(created_at) FROM touched
            WHERE isfinite(created_at)
            GROUP BY facility_id, date_bin('1 day', created_at, 'epoch');
            RETURN NULL;
        END $body$;

        CREATE OR REPLACE FUNCTION %1$I.mark_blood_banks() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            INSERT INTO %1$I.summary_marks (kind, facility_id) SELECT DISTINCT 'stock', facility_id FROM touched;
            RETURN NULL;
        END $body$;

        CREATE OR REPLACE FUNCTION %1$I.mark_facilities() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            INSERT INTO %1$I.summary_marks (kind, facility_id) SELECT DISTINCT 'facility', id FROM touched;
            RETURN NULL;
        END $body$;

        CREATE OR REPLACE FUNCTION %1$I.mark_all() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            INSERT INTO %1$I.summary_marks (kind) VALUES (TG_ARGV[0]);
            RETURN NULL;
        END $body$;

        -- A row that a replica's session or a subscription wrote. Arguments: kind, facility's column, instant's column. Marks that this
        -- transaction has left already are not left again: they are remembered in a setting that ends, and is rolled back, with them.
        CREATE FUNCTION %1$I.mark_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            row_written jsonb;
            facility uuid;
            bank uuid;
            day timestamptz;
            mark text;
            marked text;
        BEGIN
            FOR row_written IN SELECT to_jsonb(OLD) WHERE TG_OP <> 'INSERT' UNION ALL SELECT to_jsonb(NEW) WHERE TG_OP <> 'DELETE' LOOP
                IF TG_ARGV[1] = '' THEN
                    bank := (row_written ->> 'blood_bank_id')::uuid;
                    facility := (SELECT b.facility_id FROM %1$I.blood_banks b WHERE b.id = bank);
                ELSE
                    facility := (row_written ->> TG_ARGV[1])::uuid;
                END IF;
                IF TG_ARGV[2] <> '' THEN
                    day := (row_written ->> TG_ARGV[2])::timestamptz;
                    CONTINUE WHEN day IS NULL OR NOT isfinite(day);
                    day := date_bin('1 day', day, 'epoch');
                END IF;
                mark := concat_ws(' ', TG_ARGV[0], facility::text, bank::text, extract(epoch FROM day)::text) || ';';
                marked := coalesce(current_setting('facility_summary.marked', true), '');
                CONTINUE WHEN position(mark IN marked) > 0;
                PERFORM set_config('facility_summary.marked', CASE WHEN length(marked) < 4000 THEN marked ELSE '' END || mark, true);
                INSERT INTO %1$I.summary_marks (kind, facility_id, blood_bank_id, first_at, last_at)
                VALUES (TG_ARGV[0], facility, bank, day, day + interval '1 day' - interval '1 millisecond');
            END LOOP;
            RETURN NULL;
        END $body$;

        -- Makes all triggers as they should be, wherever one is missing, off, or another. For the owner of the tables.
        CREATE FUNCTION %1$I.watch_sources() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE source record;
        BEGIN
            FOR source IN SELECT * FROM %2$s LOOP
                EXECUTE format($trigger$
                    CREATE OR REPLACE TRIGGER mark_insert AFTER INSERT ON %%1$s REFERENCING NEW TABLE AS touched FOR EACH STATEMENT
                        WHEN (current_setting('facility_summary.refreshes', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION %%2$s();
                    CREATE OR REPLACE TRIGGER mark_update_new AFTER UPDATE ON %%1$s REFERENCING NEW TABLE AS touched FOR EACH STATEMENT
                        WHEN (current_setting('facility_summary.refreshes', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION %%2$s();
                    CREATE OR REPLACE TRIGGER mark_update_old AFTER UPDATE ON %%1$s REFERENCING OLD TABLE AS touched FOR EACH STATEMENT
                        WHEN (current_setting('facility_summary.refreshes', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION %%2$s();
                    CREATE OR REPLACE TRIGGER mark_delete AFTER DELETE ON %%1$s REFERENCING OLD TABLE AS touched FOR EACH STATEMENT
                        WHEN (current_setting('facility_summary.refreshes', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION %%2$s();
                    CREATE OR REPLACE TRIGGER mark_truncate AFTER TRUNCATE ON %%1$s FOR EACH STATEMENT EXECUTE FUNCTION %%3$s(%%5$L);
                    CREATE OR REPLACE TRIGGER mark_row AFTER INSERT OR UPDATE OR DELETE ON %%1$s FOR EACH ROW
                        WHEN (current_setting('facility_summary.refreshes', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION %%4$s(%%5$L, %%6$L, %%7$L);
                    ALTER TABLE %%1$s ENABLE TRIGGER mark_insert, ENABLE TRIGGER mark_update_new, ENABLE TRIGGER mark_update_old,
                        ENABLE TRIGGER mark_delete, ENABLE ALWAYS TRIGGER mark_truncate, ENABLE REPLICA TRIGGER mark_row;
                $trigger$, format('%%I.%%I', %1$L, source.tab), format('%%I.%%I', %1$L, source.func), format('%%I.mark_all', %1$L),
                    format('%%I.mark_row', %1$L), source.kind, source.facility, source.instant);
            END LOOP;
        END $body$;

        -- The triggers as the caller's snapshot has them. `off`: [table, trigger, what is wrong] of each that does not watch; `fingerprint`
        -- is another after each change of one, also where that was changed back; `remedy` puts right what is off.
        -- STABLE: it sees what the statement sees that calls it. (In PL/pgSQL, which plans it once a session, not once a call.)
        CREATE FUNCTION %1$I.source_triggers(OUT off jsonb, OUT fingerprint text, OUT remedy text)
            LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            SELECT coalesce(jsonb_agg(jsonb_build_array(w.tab, w.name, w.wrong) ORDER BY w.tab, w.name) FILTER (WHERE w.wrong IS NOT NULL), '[]'),
                   md5(string_agg(concat_ws(' ', w.tab, w.name, w.tgenabled, w.xmin), ',' ORDER BY w.tab, w.name)),
                   format('SELECT %%I.watch_sources()', %1$L)
            INTO off, fingerprint, remedy
            FROM (
                SELECT source.tab, should.name, t.tgenabled, t.xmin,
                       CASE WHEN t.oid IS NULL THEN 'missing' WHEN t.tgenabled = 'D' THEN 'disabled' WHEN t.tgenabled <> should.enabled THEN 'enabled_otherwise' END AS wrong
                FROM %2$s
                CROSS JOIN (VALUES ('mark_insert', 'O'::"char", NULL), ('mark_update_new', 'O', NULL), ('mark_update_old', 'O', NULL), ('mark_delete', 'O', NULL),
                                   ('mark_truncate', 'A', 'mark_all'), ('mark_row', 'R', 'mark_row')) AS should (name, enabled, func)
                LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(format('%%I.%%I', %1$L, source.tab)) AND t.tgname = should.name
                    AND t.tgfoid = to_regprocedure(format('%%I.%%I()', %1$L, coalesce(should.func, source.func)))
            ) AS w;
        END $body$;

        -- As before, with a search_path of its own.
        CREATE OR REPLACE FUNCTION %1$I.fleet_epoch(salt text) RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            IF pg_is_in_recovery() THEN
                RETURN NULL;
            END IF;
            RETURN concat_ws('/', (SELECT system_identifier FROM pg_control_system()), left(pg_walfile_name(pg_current_wal_lsn()), 8),
                             (SELECT oid FROM pg_database WHERE datname = current_database()), format('%%I.dashboard_daily_summary', %1$L)::regclass::oid, salt);
        END $body$;
    $make$, home, sources);

    FOREACH func IN ARRAY ARRAY['mark_inventory', 'mark_distributions', 'mark_requests', 'mark_blood_banks', 'mark_facilities', 'mark_all', 'mark_row', 'watch_sources'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %I.%I() FROM PUBLIC', home, func);
    END LOOP;
    EXECUTE format('SELECT %I.watch_sources()', home);
    IF were_watching THEN
        EXECUTE format('UPDATE %1$I.fleet SET triggers_seen = (SELECT fingerprint FROM %1$I.source_triggers())', home);
    END IF;
END $migration$;
