-- What `import` brought, so that it can be listed, compared with, and taken back. The release before does not know these tables.
-- No foreign keys: each would cost a look-up for every row that is imported.

-- One for each file and way of reading it; the same again is the same import. In `fingerprint` is what makes it the same.
CREATE TABLE file_imports (
    id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            text NOT NULL,
    source          text NOT NULL,
    file            text NOT NULL,
    sha256          text,                               -- of the file's bytes; null: it could be read only once, as a pipe
    quantity_column text NOT NULL,                      -- '': none
    fingerprint     text NOT NULL,
    command         text NOT NULL,
    started_at      timestamptz NOT NULL DEFAULT now(), -- of the last run
    finished_at     timestamptz,                        -- null: it broke off, or is under way
    rows_in         bigint NOT NULL DEFAULT 0,
    rows_skipped    bigint NOT NULL DEFAULT 0,
    rejects         text,                               -- name of the file with the rows that were skipped
    undo_began_at   timestamptz,
    undone_at       timestamptz
);
CREATE UNIQUE INDEX file_imports_once ON file_imports (fingerprint) WHERE undone_at IS NULL;

-- The deliveries, requests and facilities that an import names, until it is undone. One index: each further one would slow every import
-- down for what an undo does once, which may as well read the table.
CREATE TABLE imported_rows (
    content     bigint NOT NULL,  -- hash of what it says of the row, without its id; of a facility: 0 if it only mentions it, 1 if it says what is there
    row_id      uuid NOT NULL,
    import_id   integer NOT NULL,
    is_facility boolean NOT NULL,
    wrote       boolean NOT NULL, -- the row is as it is by this import
    hidden      text,             -- where it wrote: what was there before, null for nothing; where it did not: what it says, if that is not there
    PRIMARY KEY (row_id, import_id)
);

-- The closed days that an import recorded, until it is undone. Of the imports of a day each later `turn` lies on top of those before.
CREATE TABLE imported_days (
    facility_id uuid NOT NULL,
    date        date NOT NULL,
    import_id   integer NOT NULL,
    turn        bigint NOT NULL,
    recorded    text NOT NULL,    -- units by blood type
    before      text,             -- the same types as they were; null: the day had no stock recorded at all
    PRIMARY KEY (facility_id, date, import_id)
);
CREATE INDEX imported_days_by_import ON imported_days (import_id);
