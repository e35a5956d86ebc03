-- A district's stores: keys are codes, no time zone anywhere, stock is the sum of a ledger with signs,
-- times are UTC without a zone, products have codes of their own.
CREATE TABLE public.facility_master (
    facility_code varchar(10) PRIMARY KEY,
    facility_name text NOT NULL,
    district text,
    is_active boolean NOT NULL DEFAULT true
);
COMMENT ON TABLE public.facility_master IS 'All facilities that hold blood products';
CREATE TABLE public.item_master (
    item_code text PRIMARY KEY,
    description text,
    abo_rh text
);
CREATE TABLE public.stock_ledger (
    entry_id bigserial PRIMARY KEY,
    facility_code varchar(10) NOT NULL REFERENCES public.facility_master ON UPDATE CASCADE ON DELETE CASCADE,
    item_code text REFERENCES public.item_master ON DELETE SET NULL,
    txn_type text NOT NULL,
    sign smallint NOT NULL CHECK (sign IN (1, -1)),
    qty integer NOT NULL,
    batch_no text,
    posted_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);
CREATE INDEX stock_ledger_of ON public.stock_ledger (facility_code, posted_at);
CREATE TABLE public.requisition (
    req_no bigserial PRIMARY KEY,
    facility_code varchar(10) NOT NULL REFERENCES public.facility_master ON UPDATE CASCADE ON DELETE CASCADE,
    item_code text REFERENCES public.item_master ON DELETE SET NULL,
    qty_requested integer NOT NULL,
    req_status text NOT NULL DEFAULT 'OPEN',
    raised_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);
CREATE TABLE public.audit_log (id bigserial PRIMARY KEY, facility_code varchar(10), action text, logged_at timestamp);
