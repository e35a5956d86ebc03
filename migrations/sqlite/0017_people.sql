-- People: accounts with passwords, the sessions of browsers, and codes for the first account. The release before does not know these tables.
-- Instants are milliseconds since 1970.

CREATE TABLE users (
    name          TEXT PRIMARY KEY NOT NULL, -- in small letters; a name is never given to somebody else
    password_hash TEXT NOT NULL,     -- argon2id, in the PHC form
    role          TEXT NOT NULL,
    facilities    TEXT,              -- JSON list of ids; null: every facility
    created_ms    INTEGER NOT NULL,
    created_by    TEXT NOT NULL,
    signed_in_ms  INTEGER,           -- when a session was started last
    disabled_ms   INTEGER,           -- null: it can be used
    disabled_by   TEXT
) STRICT;

CREATE TABLE sessions (
    id            TEXT PRIMARY KEY NOT NULL, -- the part of the cookie that is no secret
    hash          BLOB NOT NULL,     -- SHA-256 of the whole cookie; the cookie itself is nowhere
    principal     TEXT NOT NULL,     -- who it is, as the audit log names it
    name          TEXT NOT NULL,
    role          TEXT NOT NULL,
    facilities    TEXT,              -- JSON object of ids and of an owner's keys; null: every facility
    user_name     TEXT,              -- null: signed in by a provider
    issuer        TEXT,              -- the provider, its name of the person, and its id of its own session
    subject       TEXT,
    provider_sid  TEXT,
    created_ms    INTEGER NOT NULL,
    expires_ms    INTEGER NOT NULL,  -- it ends then, also if it is used all the time
    used_ms       INTEGER NOT NULL,  -- when it was used last, to the minute
    ended_ms      INTEGER,           -- null: nobody has ended it
    ended_by      TEXT,
    ended_version INTEGER,           -- the access version that its end has made
    address       TEXT,              -- from where it was started, and by which program
    agent         TEXT
) STRICT;
CREATE INDEX sessions_live ON sessions (principal) WHERE ended_ms IS NULL;
CREATE INDEX sessions_ended ON sessions (ended_version) WHERE ended_version IS NOT NULL;

-- Codes by which the first account may be made. Any of them counts, and any change of keys or accounts ends all of them.
CREATE TABLE setup_codes (
    hash       BLOB PRIMARY KEY NOT NULL, -- SHA-256 of the code
    created_ms INTEGER NOT NULL
) STRICT;
