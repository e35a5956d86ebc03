-- rename public.pharmacy_order order_date ordered_at
-- step: single rows
INSERT INTO public.pharmacy_stockitem (branch_id, blood_group_id, quantity, expiry_date) SELECT id, 3, 12, current_date + 30 FROM public.pharmacy_branch ORDER BY random() LIMIT 1;
INSERT INTO public.pharmacy_stocktransfer (branch_id, blood_group_id, transfer_type, quantity) SELECT id, 2, 'IN', 5 FROM public.pharmacy_branch ORDER BY random() LIMIT 1;
INSERT INTO public.pharmacy_order (branch_id, blood_group_id, qty, order_date) SELECT id, 1, 4, now() AT TIME ZONE 'Asia/Karachi' FROM public.pharmacy_branch ORDER BY random() LIMIT 1;
-- step: statuses
UPDATE public.pharmacy_stockitem SET quantity = quantity + 1 WHERE id IN (SELECT id FROM public.pharmacy_stockitem ORDER BY random() LIMIT 30);
UPDATE public.pharmacy_stocktransfer SET transfer_type = CASE transfer_type WHEN 'IN' THEN 'OUT' ELSE 'IN' END WHERE id IN (SELECT id FROM public.pharmacy_stocktransfer ORDER BY created_at DESC LIMIT 5);
UPDATE public.pharmacy_bloodgroup SET label = CASE label WHEN 'Bombay' THEN 'Oh (Bombay)' ELSE 'Bombay' END WHERE id = 9;
-- step: moves
UPDATE public.pharmacy_stockitem SET branch_id = (SELECT id FROM public.pharmacy_branch ORDER BY random() LIMIT 1) WHERE id IN (SELECT id FROM public.pharmacy_stockitem ORDER BY random() LIMIT 12);
UPDATE public.pharmacy_order SET branch_id = (SELECT id FROM public.pharmacy_branch ORDER BY random() LIMIT 1), order_date = order_date - interval '1 hour' WHERE id IN (SELECT id FROM public.pharmacy_order ORDER BY random() LIMIT 12);
UPDATE public.pharmacy_branch SET timezone = CASE WHEN timezone IS NULL THEN 'Asia/Tokyo' END WHERE slug = 'new';
-- step: cascade
WITH b AS (INSERT INTO public.pharmacy_branch (name, slug) VALUES ('Kiosk', 'kiosk-' || gen_random_uuid()) RETURNING id)
INSERT INTO public.pharmacy_stockitem (branch_id, blood_group_id, quantity) SELECT id, 8, 1 FROM b, generate_series(1, 25);
DELETE FROM public.pharmacy_branch WHERE id IN (SELECT id FROM public.pharmacy_branch WHERE name = 'Kiosk' ORDER BY id LIMIT 1);
UPDATE public.pharmacy_branch SET name = CASE name WHEN 'Airport' THEN 'Airport, hall 2' ELSE 'Airport' END WHERE slug = 'airport';
-- copy: public.pharmacy_stockitem (branch_id, blood_group_id, quantity, expiry_date)
SELECT id, 1 + n % 8, n, current_date + n FROM public.pharmacy_branch, generate_series(1, 60) n
-- copy: public.pharmacy_order (branch_id, blood_group_id, qty, order_date)
SELECT id, 1 + n % 8, 1, now() AT TIME ZONE 'Asia/Karachi' - n * interval '7 hours' FROM public.pharmacy_branch, generate_series(0, 30) n
-- truncate
TRUNCATE public.pharmacy_stocktransfer
