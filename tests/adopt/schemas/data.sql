SELECT setseed(0.15);
INSERT INTO org.site VALUES ('BOG-1', 'Centro Uno', 'OPEN'), ('BOG-2', 'Centro Dos', 'OPEN'), ('MDE-1', 'Medellín', 'OPEN'), ('CTG-1', 'Cartagena', 'CLOSED');
INSERT INTO inv.storage_location (site_code, label) SELECT site_code, 'room ' || n FROM org.site, generate_series(1, 3) n;
INSERT INTO inv.blood_unit (unit_number, location_id, abo_group, rhd, unit_status, expiry, deleted)
SELECT 'U' || n, 1 + floor(random() * 12)::int, (ARRAY['O', 'A', 'B', 'AB', '0'])[1 + floor(random() * 5)::int],
    (ARRAY['POS', 'POS', 'NEG'])[1 + floor(random() * 3)::int], (ARRAY['IN STOCK', 'IN STOCK', 'RESERVED', 'QUARANTINE', 'ISSUED'])[1 + floor(random() * 5)::int],
    now() AT TIME ZONE 'America/Bogota' + (random() * 40 - 8) * interval '1 day', (random() < 0.05)::int
FROM generate_series(1, 3000) n;
INSERT INTO logistics.consignment (origin_site, destination_site, status, received_on)
SELECT 'BOG-1', s.site_code, CASE WHEN d.at IS NULL THEN 'SENT' ELSE 'RECEIVED' END, d.at
FROM org.site s, generate_series(1, 120) n,
    LATERAL (SELECT CASE WHEN random() < 0.9 THEN now() AT TIME ZONE 'America/Bogota' - random() * interval '14 days' + n * interval '0' END AS at) d;
INSERT INTO logistics.consignment_line SELECT consignment_id, n, (ARRAY['O', 'A', 'B'])[n], (ARRAY['POS', 'NEG'])[1 + consignment_id % 2], 2 * n
FROM logistics.consignment, generate_series(1, 3) n;
INSERT INTO clinical.requisition (site_code, abo_group, rhd, units_requested, requested_on)
SELECT s.site_code, (ARRAY['O', 'A', 'B', 'AB', NULL])[1 + floor(random() * 5)::int], (ARRAY['POS', 'NEG'])[1 + floor(random() * 2)::int],
    1 + floor(random() * 4)::int, (now() AT TIME ZONE 'America/Bogota')::date - floor(random() * 12)::int
FROM org.site s, generate_series(1, 250) n;
