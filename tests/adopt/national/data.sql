SELECT setseed(0.13);
INSERT INTO public.facilities (name, timezone, is_deleted) VALUES ('Northern Centre', 'Europe/Warsaw', false), ('Harbour', 'America/Santiago', false),
    ('Mountain Centre', 'Asia/Kathmandu', false), ('Capital', 'Africa/Accra', false), ('Closed', 'Africa/Accra', true);
INSERT INTO public.red_cell_units (facility_id, blood_type, state, expires_at)
SELECT f.id, (enum_range(NULL::public.blood_type))[1 + floor(random() * 8)::int],
    (enum_range(NULL::public.unit_state))[1 + floor(random() * 5)::int], now() + (random() * 40 - 8) * interval '1 day'
FROM public.facilities f, generate_series(1, 400) n;
INSERT INTO public.whole_blood_units (facility_id, blood_type, state, expires_at)
SELECT f.id, (enum_range(NULL::public.blood_type))[1 + floor(random() * 8)::int],
    (enum_range(NULL::public.unit_state))[1 + floor(random() * 5)::int], CASE WHEN n % 20 > 0 THEN now() + (random() * 30 - 6) * interval '1 day' END
FROM public.facilities f, generate_series(1, 200) n;
INSERT INTO public.deliveries (from_facility_id, to_facility_id, blood_type, unit_count, dispatched_at, delivered_at)
SELECT (SELECT min(id::text)::uuid FROM public.facilities), f.id, (enum_range(NULL::public.blood_type))[1 + floor(random() * 8)::int], 1 + floor(random() * 12)::int,
    now() - interval '30 days', CASE WHEN random() < 0.9 THEN now() - random() * interval '20 days' END
FROM public.facilities f, generate_series(1, 300) n;
INSERT INTO public.requests (facility_id, blood_type, quantity, created_at, cancelled)
SELECT f.id, CASE WHEN random() < 0.9 THEN (enum_range(NULL::public.blood_type))[1 + floor(random() * 8)::int] END, 1 + floor(random() * 3)::int,
    now() - random() * interval '20 days', random() < 0.1
FROM public.facilities f, generate_series(1, 300) n;
INSERT INTO public.dashboard_daily_summary SELECT id, current_date - n, 100, 7 FROM public.facilities, generate_series(0, 30) n;
