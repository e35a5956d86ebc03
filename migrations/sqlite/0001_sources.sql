-- The operational tables. Other programs may write them: every column that they may not know has a default.
-- Everything here and in the triggers works from SQLite 3.37 on, since a writer brings its own library.
-- Ids are 16-byte blobs, instants integer milliseconds since 1970; event_time is the time of the newest statement known about the row.

CREATE TABLE facilities (
    id         BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    name       TEXT NOT NULL,
    timezone   TEXT NOT NULL DEFAULT 'UTC',
    event_time INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
) STRICT, WITHOUT ROWID;

CREATE TABLE blood_banks (
    id          BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    facility_id BLOB NOT NULL REFERENCES facilities (id),
    name        TEXT NOT NULL DEFAULT '',
    event_time  INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
) STRICT, WITHOUT ROWID;

CREATE TABLE blood_inventory (
    id            BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    blood_bank_id BLOB NOT NULL REFERENCES blood_banks (id),
    blood_type    TEXT CHECK (blood_type IN ('O+', 'O-', 'A+', 'A-', 'B+', 'B-', 'AB+', 'AB-')),
    quantity      INTEGER NOT NULL CHECK (quantity BETWEEN 0 AND 2147483647),
    expires_at    INTEGER,
    event_time    INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
) STRICT, WITHOUT ROWID;

CREATE TABLE blood_distributions (
    id               BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    dispatched_to_id BLOB NOT NULL REFERENCES facilities (id),
    blood_type       TEXT CHECK (blood_type IN ('O+', 'O-', 'A+', 'A-', 'B+', 'B-', 'AB+', 'AB-')),
    quantity         INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 2147483647),
    date_delivered   INTEGER,
    event_time       INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
) STRICT, WITHOUT ROWID;

CREATE TABLE blood_requests (
    id          BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    facility_id BLOB NOT NULL REFERENCES facilities (id),
    blood_type  TEXT CHECK (blood_type IN ('O+', 'O-', 'A+', 'A-', 'B+', 'B-', 'AB+', 'AB-')),
    quantity    INTEGER CHECK (quantity BETWEEN 0 AND 2147483647),
    created_at  INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
    event_time  INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
) STRICT, WITHOUT ROWID;

-- What was removed, and when: a late statement about a removed row must not bring it back. And where it last counted (at null: in
-- today's stock), so that a repeated removal is answered with the same facility-day.
CREATE TABLE tombstones (
    kind        TEXT NOT NULL,
    id          BLOB NOT NULL CHECK (length(id) = 16),
    event_time  INTEGER NOT NULL,
    facility_id BLOB,
    at          INTEGER,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

-- Each covers what the refresh reads, so that it never visits the tables themselves.
CREATE INDEX blood_banks_by_facility ON blood_banks (facility_id, id);
CREATE INDEX blood_inventory_by_bank ON blood_inventory (blood_bank_id, blood_type, quantity, expires_at);
CREATE INDEX blood_distributions_by_day ON blood_distributions (dispatched_to_id, date_delivered, blood_type, quantity)
    WHERE date_delivered IS NOT NULL;
CREATE INDEX blood_requests_by_day ON blood_requests (facility_id, created_at, blood_type);
