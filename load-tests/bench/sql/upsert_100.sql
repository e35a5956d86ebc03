-- pgbench: upserts a hundred of :rows lots, spread over the facilities, in one statement. They are in
-- the order of their ids, so that two clients never deadlock.
\set first random(0, :rows / 100 - 1)
\set quantity random(0, 39)
INSERT INTO blood_inventory (id, blood_bank_id, blood_type, quantity, event_time)
SELECT ('00000003-0000-4000-8000-' || lpad(to_hex(lot), 12, '0'))::uuid,
       ('00000002-0000-4000-8000-' || lpad(to_hex(1 + lot % (2 * :facilities::bigint)), 12, '0'))::uuid, 'O+', (:quantity::integer + lot) % 40, now()
FROM generate_series(:first::bigint, :first::bigint + (:rows::bigint / 100) * 99, :rows::bigint / 100) AS lot
ON CONFLICT (id) DO UPDATE SET blood_bank_id = excluded.blood_bank_id, blood_type = excluded.blood_type, quantity = excluded.quantity, event_time = excluded.event_time;
