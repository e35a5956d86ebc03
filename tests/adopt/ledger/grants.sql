GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT (facility_code, facility_name, is_active) ON public.facility_master TO {role};
GRANT SELECT (item_code, abo_rh) ON public.item_master TO {role};
GRANT SELECT (facility_code, item_code, txn_type, sign, qty, posted_at) ON public.stock_ledger TO {role};
GRANT SELECT (facility_code, item_code, req_status, raised_at) ON public.requisition TO {role};
