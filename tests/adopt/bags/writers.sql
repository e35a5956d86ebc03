-- rename public.bag expiry_date expires_on
-- step: single rows
INSERT INTO public.bag (store_id, abo, rh, expiry_date) SELECT id, 'O', '+', current_date + 20 FROM public.blood_store ORDER BY random() LIMIT 1;
INSERT INTO public.movement (kind, hospital_id, blood_group, units, moved_at)
SELECT 'DELIVERY', id, 'O pos', 2, now() AT TIME ZONE 'Asia/Kathmandu' FROM public.hospital ORDER BY random() LIMIT 1;
INSERT INTO public.movement (kind, hospital_id, blood_group, units, moved_at)
SELECT 'REQUEST', id, 'A-', 3, now() AT TIME ZONE 'Asia/Kathmandu' - interval '1 day' FROM public.hospital ORDER BY random() LIMIT 1;
-- step: statuses
UPDATE public.bag SET status = 'ISSUED' WHERE bag_no IN (SELECT bag_no FROM public.bag WHERE status = 'AVAILABLE' ORDER BY random() LIMIT 5);
UPDATE public.bag SET status = 'AVAILABLE' WHERE bag_no IN (SELECT bag_no FROM public.bag WHERE status = 'RESERVED' ORDER BY random() LIMIT 5);
UPDATE public.bag SET deleted_at = now() WHERE bag_no IN (SELECT bag_no FROM public.bag ORDER BY random() LIMIT 2);
UPDATE public.bag SET expiry_date = current_date - 3 WHERE bag_no IN (SELECT bag_no FROM public.bag ORDER BY random() LIMIT 2);
-- step: moves
UPDATE public.bag SET store_id = 1 + store_id % 12 WHERE bag_no IN (SELECT bag_no FROM public.bag ORDER BY random() LIMIT 20)
    AND 1 + store_id % 12 IN (SELECT id FROM public.blood_store);
UPDATE public.blood_store SET hospital_id = (SELECT id FROM public.hospital WHERE hospital_name <> 'Field Hospital' ORDER BY random() LIMIT 1)
WHERE id = (SELECT id FROM public.blood_store ORDER BY random() LIMIT 1);
UPDATE public.movement SET hospital_id = (SELECT id FROM public.hospital ORDER BY random() LIMIT 1)
WHERE id IN (SELECT id FROM public.movement ORDER BY moved_at DESC LIMIT 3);
-- step: cascade
WITH h AS (INSERT INTO public.hospital (hospital_name) VALUES ('Field Hospital') RETURNING id),
s AS (INSERT INTO public.blood_store (hospital_id, label) SELECT id, 'tent' FROM h RETURNING id)
INSERT INTO public.bag (store_id, abo, rh) SELECT id, 'B', '-' FROM s, generate_series(1, 30);
DELETE FROM public.hospital WHERE id IN (SELECT id FROM public.hospital WHERE hospital_name = 'Field Hospital' ORDER BY id LIMIT 1);
UPDATE public.hospital SET closed_on = CASE WHEN closed_on IS NULL THEN current_date END WHERE hospital_name = 'Hill Clinic';
-- copy: public.bag (store_id, abo, rh, expiry_date, status)
SELECT s.id, 'AB', '+', current_date + 9, 'AVAILABLE' FROM public.blood_store s, generate_series(1, 40)
-- copy: public.movement (kind, hospital_id, blood_group, units, moved_at)
SELECT 'DELIVERY', h.id, 'B neg', 4, now() AT TIME ZONE 'Asia/Kathmandu' - n * interval '1 day' FROM public.hospital h, generate_series(0, 8) n
-- truncate
TRUNCATE public.movement
