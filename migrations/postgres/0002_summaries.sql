-- What the service keeps: a row per facility and local day, and what it needs to keep that row right.

CREATE TABLE dashboard_daily_summary (
    facility_id       uuid NOT NULL,
    date              date NOT NULL,
    total_stock       bigint,              -- null: a past day for which none was ever recorded
    total_transferred bigint NOT NULL,
    total_requests    bigint NOT NULL,
    by_blood_type     jsonb NOT NULL,
    as_of             timestamptz NOT NULL, -- the figures equal their sources at this instant
    next_expires_at   timestamptz,         -- today's figures hold only until then
    updated_at        timestamptz NOT NULL, -- when a figure last changed
    version           bigint NOT NULL,
    PRIMARY KEY (facility_id, date)
) WITH (fillfactor = 80);

CREATE INDEX dashboard_daily_summary_expiring ON dashboard_daily_summary (next_expires_at) WHERE next_expires_at IS NOT NULL;

-- Our own row per facility: its lock, the counter that its versions come from, and the day that it opened last. The facilities table
-- is never locked, since inserts of other programs wait there for their foreign keys.
CREATE TABLE facility_state (
    facility_id uuid PRIMARY KEY,
    version     bigint NOT NULL DEFAULT 0,
    today       date
) WITH (fillfactor = 50);

-- Left by the triggers below in the writer's own transaction, deleted by the drain. No unique key: no writer waits for another.
--   stock      the facility's stock changed (today's figures)
--   activity   deliveries or requests between first_at and last_at changed
--   facility   the facility was registered, renamed, moved to another zone, or removed
-- facility_id null: every facility. first_at null: all time.
CREATE TABLE summary_marks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL,
    facility_id uuid,
    first_at    timestamptz,
    last_at     timestamptz
);

-- Rows whose change was committed and is yet to be published.
CREATE TABLE outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    facility_id uuid NOT NULL,
    date        date NOT NULL,
    version     bigint NOT NULL
);

-- A row per run; (job, tick) lets each scheduled tick run once.
CREATE TABLE job_runs (
    id           uuid PRIMARY KEY,
    job          text NOT NULL,
    tick         timestamptz NOT NULL,
    state        text NOT NULL DEFAULT 'running',
    started_at   timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    total        bigint NOT NULL DEFAULT 0,
    done         bigint NOT NULL DEFAULT 0,
    changed      bigint NOT NULL DEFAULT 0,
    drift        bigint NOT NULL DEFAULT 0,
    error        text,
    UNIQUE (job, tick)
);

ALTER TABLE summary_marks SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE facility_state SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
ALTER TABLE dashboard_daily_summary SET (autovacuum_vacuum_scale_factor = 0.05);
