-- The audit log is insert-only in the database too: its entries are never changed. Old ones are deleted after auth.audit_log_days, so DELETE stays.

CREATE FUNCTION keep_access_log() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'access_log is insert-only: its entries are never changed' USING ERRCODE = 'insufficient_privilege';
END $$;
REVOKE ALL ON FUNCTION keep_access_log() FROM PUBLIC;

CREATE TRIGGER keep_access_log BEFORE UPDATE ON access_log FOR EACH STATEMENT EXECUTE FUNCTION keep_access_log();
