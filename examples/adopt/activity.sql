-- One moment in the hospitals: a bag comes, others are issued, a ward asks, a delivery arrives.
INSERT INTO public.blood_bag (cold_store_id, abo, rh, expiry_date) SELECT id, 'O', '+', current_date + 35 FROM public.cold_store ORDER BY random() LIMIT 1;
UPDATE public.blood_bag SET bag_state = 'issued' WHERE bag_no = (SELECT bag_no FROM public.blood_bag WHERE bag_state = 'reserved' ORDER BY random() LIMIT 1);
INSERT INTO public.ward_request (ward_id, product, units, requested_at) SELECT id, 'A+', 2, now() AT TIME ZONE 'Africa/Accra' FROM public.ward ORDER BY random() LIMIT 1;
INSERT INTO public.delivery (hospital_id, product, units, delivered_at) SELECT id, 'O-', 3, now() AT TIME ZONE 'Africa/Accra' FROM public.hospital ORDER BY random() LIMIT 1;
