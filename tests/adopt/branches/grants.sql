GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT (id, name, timezone) ON public.pharmacy_branch TO {role};
GRANT SELECT (id, label) ON public.pharmacy_bloodgroup TO {role};
GRANT SELECT (branch_id, blood_group_id, quantity, expiry_date) ON public.pharmacy_stockitem TO {role};
GRANT SELECT (branch_id, blood_group_id, transfer_type, quantity, created_at) ON public.pharmacy_stocktransfer TO {role};
GRANT SELECT (branch_id, blood_group_id, order_date) ON public.pharmacy_order TO {role};
