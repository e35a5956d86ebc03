SELECT setseed(0.17);
INSERT INTO hemo.health_centre VALUES ('HC-A', 'North', 'Africa/Nairobi', 'A'), ('HC-B', 'South', 'Africa/Nairobi', 'A'),
    ('HC-C', 'Island', 'Indian/Mauritius', 'A'), ('HC-D', 'Old', 'Africa/Nairobi', 'I');
INSERT INTO hemo.blood_types VALUES (1, 'O+'), (2, 'O-'), (3, 'A+'), (4, 'A-'), (5, 'B+'), (6, 'B-'), (7, 'AB+'), (8, 'AB-');
INSERT INTO hemo.blood_inventory
SELECT 'X' || n, (ARRAY['HC-A', 'HC-B', 'HC-C', 'HC-D'])[1 + floor(random() * 4)::int], 1 + floor(random() * 8)::int,
    now() + (random() * 40 - 6) * interval '1 day', (ARRAY['Available', 'Available', 'Cross-matched', 'Issued', 'Wasted'])[1 + floor(random() * 5)::int]
FROM generate_series(1, 2000) n;
INSERT INTO hemo.goods_received (hc_code, type_no, no_of_units, date_received)
SELECT (ARRAY['HC-A', 'HC-B', 'HC-C', 'HC-D'])[1 + floor(random() * 4)::int], 1 + floor(random() * 8)::int, 1 + floor(random() * 20)::int,
    now() - random() * interval '15 days' FROM generate_series(1, 1000);
INSERT INTO hemo.transfusion_request (hc_code, type_no, needed_by, date_requested, request_status)
SELECT (ARRAY['HC-A', 'HC-B', 'HC-C', 'HC-D'])[1 + floor(random() * 4)::int], 1 + floor(random() * 8)::int, current_date + 1,
    now() - random() * interval '15 days', (ARRAY['NEW', 'DONE', 'REJECTED'])[1 + floor(random() * 3)::int] FROM generate_series(1, 1000);
INSERT INTO hemo.inventory_history SELECT * FROM hemo.blood_inventory;
INSERT INTO hemo.donor (hc_code, type_no) SELECT 'HC-A', 1 FROM generate_series(1, 500);
