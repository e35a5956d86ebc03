-- People: accounts with passwords, the sessions of browsers, and codes for the first account. The release before does not know these tables.
-- Instants are milliseconds since 1970, by the database's clock.

CREATE TABLE users (
    name          text PRIMARY KEY,  -- in small letters; a name is never given to somebody else
    password_hash text NOT NULL,     -- argon2id, in the PHC form
    role          text NOT NULL,
    facilities    text,              -- JSON list of ids; null: every facility
    created_ms    bigint NOT NULL,
    created_by    text NOT NULL,
    signed_in_ms  bigint,            -- when a session was started last
    disabled_ms   bigint,            -- null: it can be used
    disabled_by   text
);

CREATE TABLE sessions (
    id            text PRIMARY KEY,  -- the part of the cookie that is no secret
    hash          bytea NOT NULL,    -- SHA-256 of the whole cookie; the cookie itself is nowhere
    principal     text NOT NULL,     -- who it is, as the audit log names it
    name          text NOT NULL,
    role          text NOT NULL,
    facilities    text,              -- JSON object of ids and of an owner's keys; null: every facility
    user_name     text,              -- null: signed in by a provider
    issuer        text,              -- the provider, its name of the person, and its id of its own session
    subject       text,
    provider_sid  text,
    created_ms    bigint NOT NULL,
    expires_ms    bigint NOT NULL,   -- it ends then, also if it is used all the time
    used_ms       bigint NOT NULL,   -- when it was used last, to the minute
    ended_ms      bigint,            -- null: nobody has ended it
    ended_by      text,
    ended_version bigint,            -- the access version that its end has made
    address       text,              -- from where it was started, and by which program
    agent         text
);
CREATE INDEX sessions_live ON sessions (principal) WHERE ended_ms IS NULL;
CREATE INDEX sessions_ended ON sessions (ended_version) WHERE ended_version IS NOT NULL;

-- Codes by which the first account may be made. Any of them counts on every server, and any change of keys or accounts ends all of them.
CREATE TABLE setup_codes (
    hash       bytea PRIMARY KEY,    -- SHA-256 of the code
    created_ms bigint NOT NULL
);
