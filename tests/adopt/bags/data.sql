SELECT setseed(0.11);
INSERT INTO public.hospital (hospital_name, town, closed_on) VALUES
    ('Lakeside Hospital', 'Pokhara', NULL), ('Valley General', 'Bharatpur', NULL),
    ('Hill Clinic', 'Tansen', NULL), ('Old Mission Hospital', 'Tansen', '2021-06-30'),
    ('Terai Regional Hospital', 'Birgunj', NULL), ('St. Anne''s', NULL, NULL);
INSERT INTO public.blood_store (hospital_id, label) SELECT h.id, 'store ' || n FROM public.hospital h, generate_series(1, 2) n;
INSERT INTO public.staff (hospital_id, name) SELECT h.id, 'nurse ' || n FROM public.hospital h, generate_series(1, 3) n;
INSERT INTO public.bag (donation_code, store_id, abo, rh, collected, expiry_date, status, deleted_at, created_at)
SELECT 'D' || n, 1 + floor(random() * 12)::int, (ARRAY['O', 'A', 'B', 'AB'])[1 + floor(random() * 4)::int],
    (ARRAY['+', '+', '+', '-'])[1 + floor(random() * 4)::int],
    (now() AT TIME ZONE 'Asia/Kathmandu')::date - 10, (now() AT TIME ZONE 'Asia/Kathmandu')::date + floor(random() * 40)::int - 6,
    (ARRAY['AVAILABLE', 'AVAILABLE', 'AVAILABLE', 'RESERVED', 'ISSUED', 'DISCARDED'])[1 + floor(random() * 6)::int],
    CASE WHEN random() < 0.05 THEN (now() AT TIME ZONE 'Asia/Kathmandu') END,
    now() AT TIME ZONE 'Asia/Kathmandu' - random() * interval '10 days'
FROM generate_series(1, 3000) n;
INSERT INTO public.bag (store_id, abo, rh, expiry_date) VALUES (1, NULL, NULL, NULL), (2, 'O', NULL, '2100-01-01');
INSERT INTO public.movement (kind, hospital_id, blood_group, units, moved_at)
SELECT (ARRAY['DELIVERY', 'DELIVERY', 'REQUEST', 'REQUEST', 'RETURN'])[1 + floor(random() * 5)::int], 1 + floor(random() * 6)::int,
    (ARRAY['O+', 'O pos', 'A-', 'AB Positive', 'B neg', NULL])[1 + floor(random() * 6)::int], 1 + floor(random() * 8)::int,
    now() AT TIME ZONE 'Asia/Kathmandu' - random() * interval '20 days'
FROM generate_series(1, 4000) n;
