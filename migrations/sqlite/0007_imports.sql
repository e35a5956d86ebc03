-- What `import` brought, so that it can be listed, compared with, and taken back. The release before does not know these tables.

-- One for each file and way of reading it; the same again is the same import. In `fingerprint` is what makes it the same.
CREATE TABLE file_imports (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    kind            TEXT NOT NULL,
    source          TEXT NOT NULL,
    file            TEXT NOT NULL,
    sha256          TEXT,              -- of the file's bytes; null: it could be read only once, as a pipe
    quantity_column TEXT NOT NULL,     -- '': none
    fingerprint     TEXT NOT NULL,
    command         TEXT NOT NULL,
    started_at      INTEGER NOT NULL,  -- of the last run
    finished_at     INTEGER,           -- null: it broke off, or is under way
    rows_in         INTEGER NOT NULL DEFAULT 0,
    rows_skipped    INTEGER NOT NULL DEFAULT 0,
    rejects         TEXT,              -- name of the file with the rows that were skipped
    undo_began_at   INTEGER,
    undone_at       INTEGER
) STRICT;
CREATE UNIQUE INDEX file_imports_once ON file_imports (fingerprint) WHERE undone_at IS NULL;

-- The deliveries, requests and facilities that an import names, until it is undone. One index: each further one would slow every import
-- down for what an undo does once, which may as well read the table.
CREATE TABLE imported_rows (
    row_id      BLOB NOT NULL CHECK (length(row_id) = 16),
    import_id   INTEGER NOT NULL,
    content     INTEGER NOT NULL,  -- hash of what it says of the row, without its id; of a facility: 0 if it only mentions it, 1 if it says what is there
    is_facility INTEGER NOT NULL,
    wrote       INTEGER NOT NULL,  -- the row is as it is by this import
    hidden      TEXT,              -- where it wrote: what was there before, null for nothing; where it did not: what it says, if that is not there
    PRIMARY KEY (row_id, import_id)
) STRICT, WITHOUT ROWID;

-- The closed days that an import recorded, until it is undone. Of the imports of a day each later `turn` lies on top of those before.
CREATE TABLE imported_days (
    facility_id BLOB NOT NULL CHECK (length(facility_id) = 16),
    date        TEXT NOT NULL,
    import_id   INTEGER NOT NULL,
    turn        INTEGER NOT NULL,
    recorded    TEXT NOT NULL,     -- units by blood type
    before      TEXT,              -- the same types as they were; null: the day had no stock recorded at all
    PRIMARY KEY (facility_id, date, import_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX imported_days_by_import ON imported_days (import_id);
