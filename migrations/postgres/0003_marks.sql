-- Statement triggers that append marks in the writer's own transaction. One mark for each facility and UTC day that a statement
-- touched, with the first and last instant touched in it: a bulk load leaves as many marks as facility-days, not as many as rows.
-- The service's own transactions refresh what they write before they commit, and set facility_summary.refreshes to say so.
-- SECURITY DEFINER: a writer needs no right to our tables.

CREATE FUNCTION mark_inventory() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO summary_marks (kind, facility_id)
    SELECT DISTINCT 'stock', bank.facility_id FROM touched JOIN blood_banks bank ON bank.id = touched.blood_bank_id;
    RETURN NULL;
END $$;

CREATE FUNCTION mark_distributions() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO summary_marks (kind, facility_id, first_at, last_at)
    SELECT 'activity', dispatched_to_id, min(date_delivered), max(date_delivered) FROM touched
    WHERE isfinite(date_delivered)
    GROUP BY dispatched_to_id, date_bin('1 day', date_delivered, 'epoch');
    RETURN NULL;
END $$;

CREATE FUNCTION mark_requests() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO summary_marks (kind, facility_id, first_at, last_at)
    SELECT 'activity', facility_id, min(created_at), max(created_at) FROM touched
    WHERE isfinite(created_at)
    GROUP BY facility_id, date_bin('1 day', created_at, 'epoch');
    RETURN NULL;
END $$;

CREATE FUNCTION mark_blood_banks() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO summary_marks (kind, facility_id) SELECT DISTINCT 'stock', facility_id FROM touched;
    RETURN NULL;
END $$;

CREATE FUNCTION mark_facilities() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO summary_marks (kind, facility_id) SELECT DISTINCT 'facility', id FROM touched;
    RETURN NULL;
END $$;

-- TRUNCATE has no transition table: everything of that kind is marked.
CREATE FUNCTION mark_all() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO summary_marks (kind) VALUES (TG_ARGV[0]);
    RETURN NULL;
END $$;

DO $$
DECLARE source record;
BEGIN
    FOR source IN SELECT * FROM (VALUES
        ('facilities', 'mark_facilities', 'facility'), ('blood_banks', 'mark_blood_banks', 'stock'), ('blood_inventory', 'mark_inventory', 'stock'),
        ('blood_distributions', 'mark_distributions', 'activity'), ('blood_requests', 'mark_requests', 'activity')) AS s (tab, func, kind)
    LOOP
        EXECUTE format($f$
            CREATE TRIGGER mark_insert AFTER INSERT ON %1$I REFERENCING NEW TABLE AS touched FOR EACH STATEMENT
                WHEN (current_setting('facility_summary.refreshes', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION %2$I();
            CREATE TRIGGER mark_update_new AFTER UPDATE ON %1$I REFERENCING NEW TABLE AS touched FOR EACH STATEMENT
                WHEN (current_setting('facility_summary.refreshes', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION %2$I();
            CREATE TRIGGER mark_update_old AFTER UPDATE ON %1$I REFERENCING OLD TABLE AS touched FOR EACH STATEMENT
                WHEN (current_setting('facility_summary.refreshes', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION %2$I();
            CREATE TRIGGER mark_delete AFTER DELETE ON %1$I REFERENCING OLD TABLE AS touched FOR EACH STATEMENT
                WHEN (current_setting('facility_summary.refreshes', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION %2$I();
            CREATE TRIGGER mark_truncate AFTER TRUNCATE ON %1$I FOR EACH STATEMENT EXECUTE FUNCTION mark_all(%3$L);
        $f$, source.tab, source.func, source.kind);
    END LOOP;
END $$;
