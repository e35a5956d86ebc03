GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT (id, name, timezone, is_deleted) ON public.facilities TO {role};
GRANT SELECT (facility_id, blood_type, state, expires_at) ON public.red_cell_units TO {role};
GRANT SELECT (facility_id, blood_type, state, expires_at) ON public.whole_blood_units TO {role};
GRANT SELECT (to_facility_id, blood_type, unit_count, delivered_at) ON public.deliveries TO {role};
GRANT SELECT (facility_id, blood_type, created_at, cancelled) ON public.requests TO {role};
