-- The functions of our triggers do nothing.
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT oid::regproc::text FROM pg_proc WHERE proname LIKE 'notice\_%' LOOP
        EXECUTE format('CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS %L', name, 'BEGIN RETURN NULL; END');
    END LOOP;
END $$;
