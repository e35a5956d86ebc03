-- Tokens of identity providers that do not count any more although they have not ended. The release before does not know this table.
-- Instants are milliseconds since 1970.

CREATE TABLE denied_principals (
    id         TEXT PRIMARY KEY NOT NULL, -- made of issuer, subject and token_id: the same denial has the same id
    issuer     TEXT NOT NULL,        -- claim iss
    subject    TEXT NOT NULL,        -- claim sub
    token_id   TEXT,                 -- claim jti; null: all tokens of the subject
    until_ms   INTEGER,              -- from then on it is over; null: until it is taken back
    created_ms INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT;

-- The log is read by these, the newest entry first.
CREATE INDEX IF NOT EXISTS access_log_action ON access_log (action, id);
CREATE INDEX IF NOT EXISTS access_log_actor ON access_log (actor, id);
CREATE INDEX IF NOT EXISTS access_log_subject ON access_log (subject, id);
