-- What the replicas of a fleet have to agree on; a file has one, which keeps the same books. The release before goes on working on it.

-- One row.
CREATE TABLE fleet (
    one                  INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    salt                 TEXT NOT NULL DEFAULT (lower(hex(randomblob(16)))), -- another one is another history: what was cached of the one before counts no more
    generation           INTEGER NOT NULL DEFAULT 0, -- of the change stream; each is begun once
    -- Every summary is exact as of watermark_at, and every change committed after it stands behind this position of the stream.
    watermark_at         INTEGER,
    watermark_generation INTEGER NOT NULL DEFAULT 0,
    watermark_number     INTEGER NOT NULL DEFAULT 0,
    watermark_epoch      TEXT, -- the epoch that it was stored in
    CHECK (watermark_at IS NULL OR watermark_epoch IS NOT NULL)
) STRICT;
INSERT INTO fleet DEFAULT VALUES;

-- Facilities that were registered, changed or removed, which the other replicas are yet to be told.
CREATE TABLE facility_outbox (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    facility_id BLOB NOT NULL CHECK (length(facility_id) = 16)
) STRICT;

-- The instant as of which a run found or made every summary right that it looked at.
ALTER TABLE job_runs ADD COLUMN verified_through INTEGER;
CREATE INDEX job_runs_verified ON job_runs (verified_through) WHERE verified_through IS NOT NULL;
