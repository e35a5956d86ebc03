-- Who may do what: API keys, and the log of what was changed about that. The release before does not know these tables.
-- Instants are milliseconds since 1970, by the database's clock.

CREATE TABLE api_keys (
    id         text PRIMARY KEY,     -- the part of the key that is no secret
    hash       bytea NOT NULL,       -- SHA-256 of the whole key; the key itself is nowhere
    name       text NOT NULL,
    role       text NOT NULL,
    may_read   boolean NOT NULL,     -- a service that may also read figures
    facilities text,                 -- JSON list of ids; null: every facility
    created_ms bigint NOT NULL,
    created_by text NOT NULL,
    expires_ms bigint,               -- null: never
    used_ms    bigint,               -- when it was used last, to the minute; null: not yet
    revoked_ms bigint,
    revoked_by text
);

-- Insert-only: rows are never changed, and deleted only when they are old enough.
CREATE TABLE access_log (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms   bigint NOT NULL,
    actor   text NOT NULL,           -- who did it: the id of a principal, or a command
    action  text NOT NULL,
    subject text NOT NULL,           -- what it was done to
    detail  text NOT NULL,           -- JSON: what was changed, without secrets
    address text                     -- from where; null: from a command line
);

-- Rises with each change of keys. Every server looks at it each half second.
ALTER TABLE fleet ADD COLUMN access_version bigint NOT NULL DEFAULT 0;
