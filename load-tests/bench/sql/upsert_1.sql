-- pgbench: upserts one of :rows lots.
\set lot random(0, :rows - 1)
\set quantity random(0, 39)
INSERT INTO blood_inventory (id, blood_bank_id, blood_type, quantity, event_time)
VALUES (('00000003-0000-4000-8000-' || lpad(to_hex(:lot::bigint), 12, '0'))::uuid,
        ('00000002-0000-4000-8000-' || lpad(to_hex(1 + :lot::bigint % (2 * :facilities::bigint)), 12, '0'))::uuid, 'O+', :quantity::integer, now())
ON CONFLICT (id) DO UPDATE SET blood_bank_id = excluded.blood_bank_id, blood_type = excluded.blood_type, quantity = excluded.quantity, event_time = excluded.event_time;
