SELECT setseed(0.12);
INSERT INTO public.facility_master VALUES ('LAG-01', 'Island Maternity', 'Island', true), ('LAG-02', 'Mainland General', 'Mainland', true),
    ('ABJ-01', 'Capital Teaching', 'Capital', true), ('KAN-07', 'Kano Road Clinic', NULL, true), ('OLD-99', 'Disused store', NULL, false);
INSERT INTO public.item_master VALUES ('RBC-OP', 'Red cells O pos', 'O POS'), ('RBC-ON', 'Red cells O neg', 'O NEG'),
    ('RBC-AP', 'Red cells A pos', 'A POS'), ('RBC-BP', 'Red cells B pos', 'B POS'), ('PLT', 'Platelets, pooled', NULL);
INSERT INTO public.stock_ledger (facility_code, item_code, txn_type, sign, qty, posted_at)
SELECT f.facility_code, i.item_code, 'OPENING', 1, 400, now() AT TIME ZONE 'utc' - interval '60 days'
FROM public.facility_master f, public.item_master i;
INSERT INTO public.stock_ledger (facility_code, item_code, txn_type, sign, qty, posted_at)
SELECT (ARRAY['LAG-01', 'LAG-02', 'ABJ-01', 'KAN-07', 'OLD-99'])[1 + floor(random() * 5)::int],
    (ARRAY['RBC-OP', 'RBC-ON', 'RBC-AP', 'RBC-BP', 'PLT', NULL])[1 + floor(random() * 6)::int],
    t.kind, CASE t.kind WHEN 'RECEIPT' THEN 1 ELSE -1 END, 1 + floor(random() * 4)::int,
    now() AT TIME ZONE 'utc' - random() * interval '25 days'
FROM generate_series(1, 3000) n, LATERAL (SELECT (ARRAY['RECEIPT', 'RECEIPT', 'ISSUE', 'DISCARD'])[1 + floor(random() * 4 + n * 0)::int] AS kind) t;
INSERT INTO public.requisition (facility_code, item_code, qty_requested, req_status, raised_at)
SELECT (ARRAY['LAG-01', 'LAG-02', 'ABJ-01', 'KAN-07', 'OLD-99'])[1 + floor(random() * 5)::int],
    (ARRAY['RBC-OP', 'RBC-ON', 'RBC-AP', 'PLT'])[1 + floor(random() * 4)::int], 1 + floor(random() * 10)::int,
    (ARRAY['OPEN', 'FILLED', 'FILLED', 'CANCELLED'])[1 + floor(random() * 4)::int], now() AT TIME ZONE 'utc' - random() * interval '15 days'
FROM generate_series(1, 1500) n;
INSERT INTO public.audit_log (facility_code, action, logged_at) SELECT 'LAG-01', 'login', now() FROM generate_series(1, 200);
