-- The operational tables. Other programs may write them: every column that they may not know has a default.
-- Instants are timestamptz; event_time is the time of the newest statement known about the row.

CREATE TABLE facilities (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    timezone   text NOT NULL DEFAULT 'UTC',
    event_time timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now())
);

CREATE TABLE blood_banks (
    id          uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facilities (id),
    name        text NOT NULL DEFAULT '',
    event_time  timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now())
);

CREATE DOMAIN blood_type AS text COLLATE "C"
    CHECK (VALUE IN ('O+', 'O-', 'A+', 'A-', 'B+', 'B-', 'AB+', 'AB-'));

CREATE TABLE blood_inventory (
    id            uuid PRIMARY KEY,
    blood_bank_id uuid NOT NULL REFERENCES blood_banks (id),
    blood_type    blood_type,
    quantity      integer NOT NULL CHECK (quantity >= 0),
    expires_at    timestamptz,
    event_time    timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now())
);

CREATE TABLE blood_distributions (
    id               uuid PRIMARY KEY,
    dispatched_to_id uuid NOT NULL REFERENCES facilities (id),
    blood_type       blood_type,
    quantity         integer NOT NULL CHECK (quantity > 0),
    date_delivered   timestamptz,
    event_time       timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now())
);

CREATE TABLE blood_requests (
    id          uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facilities (id),
    blood_type  blood_type,
    quantity    integer CHECK (quantity >= 0),
    created_at  timestamptz NOT NULL DEFAULT now(),
    event_time  timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now())
);

-- What was removed, and when: a late statement about a removed row must not bring it back. And where it last counted (at null: in
-- today's stock), so that a repeated removal is answered with the same facility-day.
CREATE TABLE tombstones (
    kind        text NOT NULL,
    id          uuid NOT NULL,
    event_time  timestamptz NOT NULL,
    facility_id uuid,
    at          timestamptz,
    PRIMARY KEY (kind, id)
);

-- Each covers what the refresh reads, so that it never visits the tables themselves.
CREATE INDEX blood_banks_by_facility ON blood_banks (facility_id, id);
CREATE INDEX blood_inventory_by_bank ON blood_inventory (blood_bank_id, blood_type) INCLUDE (quantity, expires_at);
CREATE INDEX blood_distributions_by_day ON blood_distributions (dispatched_to_id, date_delivered)
    INCLUDE (blood_type, quantity) WHERE date_delivered IS NOT NULL;
CREATE INDEX blood_requests_by_day ON blood_requests (facility_id, created_at) INCLUDE (blood_type);

-- An index-only scan needs the visibility map, so vacuum soon and often.
ALTER TABLE blood_inventory SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05, fillfactor = 90);
ALTER TABLE blood_distributions SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE blood_requests SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
