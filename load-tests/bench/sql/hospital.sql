-- An operational database: hospitals, stores, bags, and movements of two kinds.
CREATE TABLE public.hospital (id integer PRIMARY KEY, title text NOT NULL);
CREATE TABLE public.store (id integer PRIMARY KEY, hospital_id integer NOT NULL REFERENCES public.hospital);
CREATE TABLE public.bag (
    id bigserial PRIMARY KEY, store_id integer NOT NULL REFERENCES public.store, abo text NOT NULL, rh char(1) NOT NULL,
    state text NOT NULL DEFAULT 'available', expiry date
);
CREATE INDEX ON public.bag (store_id, state);
CREATE TABLE public.movement (
    id bigserial PRIMARY KEY, kind text NOT NULL, hospital_id integer NOT NULL REFERENCES public.hospital, product text, units integer,
    at timestamp NOT NULL
);
CREATE INDEX ON public.movement (hospital_id, at);
INSERT INTO public.hospital SELECT n, concat('Hospital ', n) FROM generate_series(1, :facilities) AS n;
INSERT INTO public.store SELECT n, 1 + n % :facilities FROM generate_series(1, 3 * :facilities) AS n;
INSERT INTO public.bag (store_id, abo, rh, expiry)
    SELECT 1 + n % (3 * :facilities), 'O', '+', current_date + n % 40 FROM generate_series(1, 100 * :facilities) AS n;
