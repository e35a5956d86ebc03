-- Who may do what: API keys, and the log of what was changed about that. The release before does not know these tables.
-- Instants are milliseconds since 1970.

CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY NOT NULL, -- the part of the key that is no secret
    hash       BLOB NOT NULL,        -- SHA-256 of the whole key; the key itself is nowhere
    name       TEXT NOT NULL,
    role       TEXT NOT NULL,
    may_read   INTEGER NOT NULL,     -- a service that may also read figures
    facilities TEXT,                 -- JSON list of ids; null: every facility
    created_ms INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_ms INTEGER,              -- null: never
    used_ms    INTEGER,              -- when it was used last, to the minute; null: not yet
    revoked_ms INTEGER,
    revoked_by TEXT
) STRICT;

-- Insert-only: rows are never changed, and deleted only when they are old enough.
CREATE TABLE access_log (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms   INTEGER NOT NULL,
    actor   TEXT NOT NULL,           -- who did it: the id of a principal, or a command
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,           -- what it was done to
    detail  TEXT NOT NULL,           -- JSON: what was changed, without secrets
    address TEXT                     -- from where; null: from a command line
) STRICT;

-- Rises with each change of keys. The server looks at it each half second.
ALTER TABLE fleet ADD COLUMN access_version INTEGER NOT NULL DEFAULT 0;
