-- What `import` wrote, so that imports can be listed, compared and undone. The last release does
-- not know these tables. They have no foreign keys, since each would cost a look-up for every
-- imported row.

-- A row for each file and way of reading it. The same file read in the same way again is the same
-- import, which has the same `fingerprint`.
CREATE TABLE file_imports (
    id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            text NOT NULL,
    source          text NOT NULL,
    file            text NOT NULL,
    sha256          text,                               -- of the file's bytes; null for a pipe, which can be read only once
    quantity_column text NOT NULL,                      -- '' if there is no such column
    fingerprint     text NOT NULL,
    command         text NOT NULL,
    started_at      timestamptz NOT NULL DEFAULT now(), -- start of the last run
    finished_at     timestamptz,                        -- null: the last run is in progress, or broke off
    rows_in         bigint NOT NULL DEFAULT 0,
    rows_skipped    bigint NOT NULL DEFAULT 0,
    rejects         text,                               -- name of the file with the refused rows
    undo_began_at   timestamptz,
    undone_at       timestamptz
);
CREATE UNIQUE INDEX file_imports_once ON file_imports (fingerprint) WHERE undone_at IS NULL;

-- The deliveries, requests and facilities of an import, until it is undone. There is one index
-- only: another one would slow down every import. An undo is rare, and can read the whole table.
CREATE TABLE imported_rows (
    -- Hash of the imported values without the id. For a facility: 0 if the import only names it, 1
    -- if the import states its values.
    content     bigint NOT NULL,
    row_id      uuid NOT NULL,
    import_id   integer NOT NULL,
    is_facility boolean NOT NULL,
    wrote       boolean NOT NULL, -- this import wrote the row
    -- If the import wrote the row: its values before, or null if there was none. Otherwise: the
    -- values that the import states, if the row has others.
    hidden      text,
    PRIMARY KEY (row_id, import_id)
);

-- The closed days that an import recorded, until it is undone. If several imports record a day, the
-- one with the greatest `turn` counts.
CREATE TABLE imported_days (
    facility_id uuid NOT NULL,
    date        date NOT NULL,
    import_id   integer NOT NULL,
    turn        bigint NOT NULL,
    recorded    text NOT NULL,    -- units by blood type
    before      text,             -- the same types before the import; null: the day had no recorded stock
    PRIMARY KEY (facility_id, date, import_id)
);
CREATE INDEX imported_days_by_import ON imported_days (import_id);
