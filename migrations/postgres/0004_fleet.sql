-- What the replicas of a fleet have to agree on. Replicas of the release before go on working beside it.

-- One row.
CREATE TABLE fleet (
    one                  boolean PRIMARY KEY DEFAULT true CHECK (one),
    salt                 text NOT NULL DEFAULT gen_random_uuid()::text, -- another one is another history: what was cached of the one before counts no more
    generation           bigint NOT NULL DEFAULT 0, -- of the change stream; each is begun once
    -- Every summary is exact as of watermark_at, and every change committed after it stands behind this position of the stream.
    watermark_at         timestamptz,
    watermark_generation bigint NOT NULL DEFAULT 0,
    watermark_number     bigint NOT NULL DEFAULT 0,
    watermark_epoch      text, -- the epoch that it was stored in: a streaming replica cannot ask for its own
    CHECK (watermark_at IS NULL OR watermark_epoch IS NOT NULL)
);
INSERT INTO fleet DEFAULT VALUES;

-- Names the history that this database is at: another cluster, a promoted standby, a restored dump and a new salt each have another.
-- Null on a streaming replica, where the timeline cannot be asked for. (In PL/pgSQL, which plans it once a session, not once a call.)
CREATE FUNCTION fleet_epoch(salt text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN NULL;
    END IF;
    RETURN concat_ws('/', (SELECT system_identifier FROM pg_control_system()), left(pg_walfile_name(pg_current_wal_lsn()), 8),
                     (SELECT oid FROM pg_database WHERE datname = current_database()), 'dashboard_daily_summary'::regclass::oid, salt);
END $$;

-- Facilities that were registered, changed or removed, which the other replicas are yet to be told.
CREATE TABLE facility_outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    facility_id uuid NOT NULL
);

-- The instant as of which a run found or made every summary right that it looked at.
ALTER TABLE job_runs ADD COLUMN verified_through timestamptz;
CREATE INDEX job_runs_verified ON job_runs (verified_through) WHERE verified_through IS NOT NULL;

ALTER TABLE fleet SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE facility_outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_insert_threshold = -1);
