-- What the service keeps: a row per facility and local day, and what it needs to keep that row right.

CREATE TABLE dashboard_daily_summary (
    facility_id       BLOB NOT NULL CHECK (length(facility_id) = 16),
    date              TEXT NOT NULL,
    total_stock       INTEGER,              -- null: a past day for which none was ever recorded
    total_transferred INTEGER NOT NULL,
    total_requests    INTEGER NOT NULL,
    by_blood_type     TEXT NOT NULL,
    as_of             INTEGER NOT NULL,     -- the figures equal their sources at this instant
    next_expires_at   INTEGER,              -- today's figures hold only until then
    updated_at        INTEGER NOT NULL,     -- when a figure last changed
    version           INTEGER NOT NULL,
    PRIMARY KEY (facility_id, date)
) STRICT, WITHOUT ROWID;

CREATE INDEX dashboard_daily_summary_expiring ON dashboard_daily_summary (next_expires_at) WHERE next_expires_at IS NOT NULL;

-- Our own row per facility: the counter that its versions come from, and the day that it opened last.
CREATE TABLE facility_state (
    facility_id BLOB PRIMARY KEY NOT NULL CHECK (length(facility_id) = 16),
    version     INTEGER NOT NULL DEFAULT 0,
    today       TEXT
) STRICT, WITHOUT ROWID;

-- Left by the triggers in the writer's own transaction, deleted by the drain.
--   stock      the facility's stock changed (today's figures)
--   activity   deliveries or requests between first_at and last_at changed
--   facility   the facility was registered, renamed, moved to another zone, or removed
-- facility_id null: every facility. first_at null: all time. utc_day bounds how many marks one bulk write can leave.
CREATE TABLE summary_marks (
    id          INTEGER PRIMARY KEY,
    kind        TEXT NOT NULL,
    facility_id BLOB,
    utc_day     INTEGER,
    first_at    INTEGER,
    last_at     INTEGER
) STRICT;

CREATE INDEX summary_marks_by_day ON summary_marks (facility_id, kind, utc_day);

-- Rows whose change was committed and is yet to be published.
CREATE TABLE outbox (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    facility_id BLOB NOT NULL,
    date        TEXT NOT NULL,
    version     INTEGER NOT NULL
) STRICT;

-- A row per run; (job, tick) lets each scheduled tick run once.
CREATE TABLE job_runs (
    id           BLOB PRIMARY KEY NOT NULL,
    job          TEXT NOT NULL,
    tick         INTEGER NOT NULL,
    state        TEXT NOT NULL DEFAULT 'running',
    started_at   INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    finished_at  INTEGER,
    total        INTEGER NOT NULL DEFAULT 0,
    done         INTEGER NOT NULL DEFAULT 0,
    changed      INTEGER NOT NULL DEFAULT 0,
    drift        INTEGER NOT NULL DEFAULT 0,
    error        TEXT,
    UNIQUE (job, tick)
) STRICT;
