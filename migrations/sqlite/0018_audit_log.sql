-- The audit log is insert-only in the database too: its entries are never changed. Old ones are deleted after auth.audit_log_days, so DELETE stays.

CREATE TRIGGER keep_access_log BEFORE UPDATE ON access_log
BEGIN
    SELECT RAISE(ABORT, 'access_log is insert-only: its entries are never changed');
END;
