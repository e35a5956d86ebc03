-- fleet_epoch as before, with the same answer. What it asks of the server's history is in functions of their own now: where a managed server
-- refuses one of them, the service replaces it at its start (src/store/postgres/server_history.rs). Replicas of the release before go on working.
CREATE FUNCTION server_timeline() RETURNS text LANGUAGE sql BEGIN ATOMIC
    SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8);
END;
CREATE OR REPLACE FUNCTION fleet_epoch(salt text) RETURNS text LANGUAGE sql BEGIN ATOMIC
    SELECT CASE WHEN NOT pg_is_in_recovery() THEN
        pg_catalog.concat_ws('/', server_identifier(), server_timeline(), database_identifier(),
                             'dashboard_daily_summary'::regclass::oid, salt) END;
END;

-- The stock of closed days of mapped facilities that are no longer mapped: it is recorded, and comes back with the facility.
CREATE TABLE closed_stock (
    facility_id   uuid NOT NULL,
    date          date NOT NULL,
    total_stock   bigint NOT NULL,
    by_blood_type jsonb NOT NULL,
    PRIMARY KEY (facility_id, date)
);
