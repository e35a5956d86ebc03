SELECT setseed(0.16);
INSERT INTO public.pharmacy_branch (name, slug, timezone) VALUES ('Head office', 'head', 'Asia/Karachi'), ('Airport', 'airport', 'Asia/Karachi'),
    ('Gulf branch', 'gulf', 'Asia/Dubai'), ('No zone yet', 'new', NULL);
INSERT INTO public.pharmacy_bloodgroup (label) VALUES ('O Positive'), ('O Negative'), ('A Positive'), ('A Negative'), ('B Positive'), ('B Negative'), ('AB Positive'), ('AB Negative'), ('Bombay');
INSERT INTO public.auth_user (username, home_branch_id) SELECT 'user' || n, 1 + n % 4 FROM generate_series(1, 20) n;
INSERT INTO public.pharmacy_stockitem (branch_id, blood_group_id, batch_no, quantity, expiry_date, created_by_id)
SELECT 1 + floor(random() * 4)::int, 1 + floor(random() * 9)::int, 'B' || n, floor(random() * 30)::int, current_date + floor(random() * 60)::int - 10, 1 + floor(random() * 20)::int
FROM generate_series(1, 1500) n;
INSERT INTO public.pharmacy_stocktransfer (branch_id, blood_group_id, transfer_type, quantity, created_at)
SELECT 1 + floor(random() * 4)::int, 1 + floor(random() * 9)::int, (ARRAY['IN', 'OUT'])[1 + floor(random() * 2)::int], 1 + floor(random() * 9)::int, now() - random() * interval '15 days'
FROM generate_series(1, 2000) n;
INSERT INTO public.pharmacy_order (branch_id, blood_group_id, qty, order_date, approved_by_id)
SELECT 1 + floor(random() * 4)::int, 1 + floor(random() * 9)::int, 1 + floor(random() * 9)::int, now() AT TIME ZONE 'Asia/Karachi' - random() * interval '15 days', 1
FROM generate_series(1, 2000) n;
INSERT INTO public.pharmacy_dailyreport SELECT n, 1 + n % 4, current_date - n, 10 FROM generate_series(1, 40) n;
INSERT INTO public.django_migrations VALUES (1, 'pharmacy', '0001_initial', now());
