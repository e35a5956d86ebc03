GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT (id, hospital_name, closed_on) ON public.hospital TO {role};
GRANT SELECT (id, hospital_id) ON public.blood_store TO {role};
GRANT SELECT (store_id, abo, rh, expiry_date, status, deleted_at) ON public.bag TO {role};
GRANT SELECT (kind, hospital_id, blood_group, units, moved_at) ON public.movement TO {role};
