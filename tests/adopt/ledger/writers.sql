-- rename public.stock_ledger posted_at booked_at
-- step: single rows
INSERT INTO public.stock_ledger (facility_code, item_code, txn_type, sign, qty)
SELECT facility_code, 'RBC-OP', 'RECEIPT', 1, 5 FROM public.facility_master ORDER BY random() LIMIT 1;
INSERT INTO public.stock_ledger (facility_code, item_code, txn_type, sign, qty)
SELECT facility_code, 'RBC-ON', 'ISSUE', -1, 1 FROM public.facility_master ORDER BY random() LIMIT 1;
INSERT INTO public.requisition (facility_code, item_code, qty_requested)
SELECT facility_code, 'RBC-AP', 1 FROM public.facility_master ORDER BY random() LIMIT 1;
-- step: statuses
UPDATE public.requisition SET req_status = 'CANCELLED' WHERE req_no IN (SELECT req_no FROM public.requisition ORDER BY raised_at DESC LIMIT 2);
UPDATE public.requisition SET req_status = 'FILLED' WHERE req_no IN (SELECT req_no FROM public.requisition ORDER BY random() LIMIT 4);
UPDATE public.facility_master SET is_active = NOT is_active WHERE facility_code = 'KAN-07';
-- step: moves
UPDATE public.stock_ledger SET facility_code = 'ABJ-01' WHERE entry_id IN (SELECT entry_id FROM public.stock_ledger ORDER BY random() LIMIT 9);
UPDATE public.requisition SET facility_code = 'LAG-02' WHERE req_no IN (SELECT req_no FROM public.requisition ORDER BY random() LIMIT 3);
UPDATE public.item_master SET abo_rh = CASE abo_rh WHEN 'B POS' THEN 'B+' ELSE 'B POS' END WHERE item_code = 'RBC-BP';
-- step: cascade
INSERT INTO public.facility_master VALUES ('TMP-' || floor(random() * 100000), 'Mobile unit') ON CONFLICT DO NOTHING;
INSERT INTO public.stock_ledger (facility_code, item_code, txn_type, sign, qty)
SELECT facility_code, 'RBC-BP', 'RECEIPT', 1, 2 FROM public.facility_master, generate_series(1, 10) WHERE facility_code LIKE 'TMP-%';
DELETE FROM public.facility_master WHERE facility_code = (SELECT min(facility_code) FROM public.facility_master WHERE facility_code LIKE 'TMP-%');
UPDATE public.facility_master SET facility_code = replace(facility_code, 'TMP-', 'TMP-9') WHERE facility_code LIKE 'TMP-_' ;
-- copy: public.stock_ledger (facility_code, item_code, txn_type, sign, qty, posted_at)
SELECT f.facility_code, 'RBC-OP', 'RECEIPT', 1, 1 + n, now() AT TIME ZONE 'utc' - n * interval '10 hours'
FROM public.facility_master f, generate_series(0, 30) n
-- copy: public.requisition (facility_code, item_code, qty_requested, raised_at)
SELECT f.facility_code, 'RBC-BP', n, now() AT TIME ZONE 'utc' - n * interval '8 hours' FROM public.facility_master f, generate_series(1, 20) n
-- truncate
TRUNCATE public.requisition
