-- :facilities facilities, each with two blood banks, :lots lots in them, and over 30 days :activity
-- deliveries and as many requests. This leaves no marks, like the service's own transactions; a
-- rebuild derives all figures.
SET synchronous_commit = off;
BEGIN;
SELECT set_config('facility_summary.refreshes', pg_current_xact_id()::text, true) \g /dev/null

CREATE FUNCTION pg_temp.id(kind integer, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT (lpad(to_hex(kind), 8, '0') || '-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.blood(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT (ARRAY['O+', 'A+', 'B+', 'O-', 'AB+', 'A-', 'B-', 'AB-'])[1 + (n * 7919 / 13) % 8] $$;

INSERT INTO facilities (id, name) SELECT pg_temp.id(1, n), 'Facility ' || n FROM generate_series(1, :facilities) AS n;
INSERT INTO blood_banks (id, facility_id) SELECT pg_temp.id(2, n), pg_temp.id(1, (n + 1) / 2) FROM generate_series(1, 2 * :facilities) AS n;
INSERT INTO blood_inventory (id, blood_bank_id, blood_type, quantity, expires_at)
    SELECT pg_temp.id(3, n), pg_temp.id(2, 1 + n % (2 * :facilities)), pg_temp.blood(n / (2 * :facilities)), (n * 31) % 40,
           now() + (1 + (n * 17) % 40) * interval '1 day'
    FROM generate_series(0, :lots::bigint * :facilities - 1) AS n;
INSERT INTO blood_distributions (id, dispatched_to_id, blood_type, quantity, date_delivered)
    SELECT pg_temp.id(4, n), pg_temp.id(1, 1 + n % :facilities), pg_temp.blood(n / :facilities), 1 + n % 20,
           now() - ((n * 7919) % 2592000) * interval '1 second'
    FROM generate_series(0, :activity::bigint * :facilities - 1) AS n;
INSERT INTO blood_requests (id, facility_id, blood_type, quantity, created_at)
    SELECT pg_temp.id(5, n), pg_temp.id(1, 1 + n % :facilities), pg_temp.blood(n / :facilities), n % 9,
           now() - ((n * 7919) % 2592000) * interval '1 second'
    FROM generate_series(0, :activity::bigint * :facilities - 1) AS n;
COMMIT;
