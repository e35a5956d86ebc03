-- pgbench: upserts a hundred of :rows lots, one of each hundredth of the facilities, in one
-- statement: the same rows as `load events`. They are in the order of their ids, so that two clients
-- never deadlock.
\set quantity random(0, 39)
INSERT INTO blood_inventory (id, blood_bank_id, blood_type, quantity, event_time)
SELECT ('00000003-0000-4000-8000-' || lpad(to_hex(lot), 12, '0'))::uuid,
       ('00000002-0000-4000-8000-' || lpad(to_hex(1 + lot % (2 * :facilities::bigint)), 12, '0'))::uuid, 'O+', (:quantity::integer + lot) % 40, now()
FROM (
    SELECT 2 * (part * :facilities::bigint / 100 + floor(random() * (:facilities::bigint / 100))::bigint) + floor(random() * 2)::bigint
               + 2 * :facilities::bigint * floor(random() * (:rows::bigint / (2 * :facilities::bigint)))::bigint AS lot
    FROM generate_series(0, 99) AS part ORDER BY lot
) AS spread
ON CONFLICT (id) DO UPDATE SET blood_bank_id = excluded.blood_bank_id, blood_type = excluded.blood_type, quantity = excluded.quantity, event_time = excluded.event_time;
