-- rename public.deliveries unit_count units_sent
-- step: single rows
INSERT INTO public.red_cell_units (facility_id, blood_type, expires_at) SELECT id, 'O_NEGATIVE', now() + interval '30 days' FROM public.facilities ORDER BY random() LIMIT 1;
INSERT INTO public.whole_blood_units (facility_id, blood_type) SELECT id, 'A_POSITIVE' FROM public.facilities ORDER BY random() LIMIT 1;
INSERT INTO public.deliveries (to_facility_id, blood_type, unit_count, delivered_at) SELECT id, 'B_POSITIVE', 3, now() FROM public.facilities ORDER BY random() LIMIT 1;
INSERT INTO public.requests (facility_id, blood_type) SELECT id, 'AB_NEGATIVE' FROM public.facilities ORDER BY random() LIMIT 1;
-- step: statuses
UPDATE public.red_cell_units SET state = 'transfused' WHERE id IN (SELECT id FROM public.red_cell_units WHERE state = 'allocated' ORDER BY random() LIMIT 7);
UPDATE public.whole_blood_units SET state = 'allocated' WHERE id IN (SELECT id FROM public.whole_blood_units ORDER BY random() LIMIT 7);
UPDATE public.deliveries SET delivered_at = now() WHERE id IN (SELECT id FROM public.deliveries WHERE delivered_at IS NULL LIMIT 4);
UPDATE public.requests SET cancelled = NOT cancelled WHERE id IN (SELECT id FROM public.requests ORDER BY created_at DESC LIMIT 4);
UPDATE public.red_cell_units SET expires_at = now() - interval '1 minute' WHERE id IN (SELECT id FROM public.red_cell_units ORDER BY random() LIMIT 3);
-- step: moves
UPDATE public.red_cell_units SET facility_id = (SELECT id FROM public.facilities ORDER BY random() LIMIT 1) WHERE id IN (SELECT id FROM public.red_cell_units ORDER BY random() LIMIT 15);
UPDATE public.requests SET facility_id = (SELECT id FROM public.facilities ORDER BY random() LIMIT 1) WHERE id IN (SELECT id FROM public.requests ORDER BY created_at DESC LIMIT 5);
UPDATE public.facilities SET timezone = CASE timezone WHEN 'America/Santiago' THEN 'Pacific/Auckland' ELSE 'America/Santiago' END WHERE name = 'Harbour';
-- step: cascade
WITH f AS (INSERT INTO public.facilities (name, timezone) VALUES ('Mobile unit', 'UTC') RETURNING id)
INSERT INTO public.requests (facility_id, blood_type) SELECT id, 'O_POSITIVE' FROM f, generate_series(1, 20);
DELETE FROM public.facilities WHERE id IN (SELECT id FROM public.facilities WHERE name = 'Mobile unit' ORDER BY id LIMIT 1);
UPDATE public.facilities SET is_deleted = NOT is_deleted WHERE name = 'Capital';
-- copy: public.red_cell_units (facility_id, blood_type, state, expires_at)
SELECT id, 'B_NEGATIVE', 'in_stock', now() + interval '20 days' FROM public.facilities, generate_series(1, 60)
-- copy: public.requests (facility_id, blood_type, created_at)
SELECT id, 'A_NEGATIVE', now() - n * interval '9 hours' FROM public.facilities, generate_series(0, 20) n
-- truncate
TRUNCATE public.whole_blood_units
