-- What `import` wrote, so that imports can be listed, compared and undone. The last release does
-- not know these tables.

-- A row for each file and way of reading it. The same file read in the same way again is the same
-- import, which has the same `fingerprint`.
CREATE TABLE file_imports (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    kind            TEXT NOT NULL,
    source          TEXT NOT NULL,
    file            TEXT NOT NULL,
    sha256          TEXT,              -- of the file's bytes; null for a pipe, which can be read only once
    quantity_column TEXT NOT NULL,     -- '' if there is no such column
    fingerprint     TEXT NOT NULL,
    command         TEXT NOT NULL,
    started_at      INTEGER NOT NULL,  -- start of the last run
    finished_at     INTEGER,           -- null: the last run is in progress, or broke off
    rows_in         INTEGER NOT NULL DEFAULT 0,
    rows_skipped    INTEGER NOT NULL DEFAULT 0,
    rejects         TEXT,              -- name of the file with the refused rows
    undo_began_at   INTEGER,
    undone_at       INTEGER
) STRICT;
CREATE UNIQUE INDEX file_imports_once ON file_imports (fingerprint) WHERE undone_at IS NULL;

-- The deliveries, requests and facilities of an import, until it is undone. There is one index
-- only: another one would slow down every import. An undo is rare, and can read the whole table.
CREATE TABLE imported_rows (
    row_id      BLOB NOT NULL CHECK (length(row_id) = 16),
    import_id   INTEGER NOT NULL,
    -- Hash of the imported values without the id. For a facility: 0 if the import only names it, 1
    -- if the import states its values.
    content     INTEGER NOT NULL,
    is_facility INTEGER NOT NULL,
    wrote       INTEGER NOT NULL,  -- this import wrote the row
    -- If the import wrote the row: its values before, or null if there was none. Otherwise: the
    -- values that the import states, if the row has others.
    hidden      TEXT,
    PRIMARY KEY (row_id, import_id)
) STRICT, WITHOUT ROWID;

-- The closed days that an import recorded, until it is undone. If several imports record a day, the
-- one with the greatest `turn` counts.
CREATE TABLE imported_days (
    facility_id BLOB NOT NULL CHECK (length(facility_id) = 16),
    date        TEXT NOT NULL,
    import_id   INTEGER NOT NULL,
    turn        INTEGER NOT NULL,
    recorded    TEXT NOT NULL,     -- units by blood type
    before      TEXT,              -- the same types before the import; null: the day had no recorded stock
    PRIMARY KEY (facility_id, date, import_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX imported_days_by_import ON imported_days (import_id);
