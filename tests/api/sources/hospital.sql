CREATE TABLE public.hospital (id integer PRIMARY KEY, title text NOT NULL, closed_on date);
CREATE TABLE public.store (id serial PRIMARY KEY, hospital_id integer NOT NULL REFERENCES public.hospital);
CREATE TYPE public.bag_state AS ENUM ('available', 'reserved', 'issued', 'discarded');
CREATE TABLE public.bag (
    "No" bigserial PRIMARY KEY, store_id integer NOT NULL REFERENCES public.store, abo varchar(2), rh char(1),
    state public.bag_state NOT NULL DEFAULT 'available', expiry date, deleted_at timestamp
);
CREATE TABLE public.movement (id bigserial PRIMARY KEY, kind text NOT NULL, hospital_id integer, product text, units smallint, "At" timestamp NOT NULL);
INSERT INTO public.hospital VALUES (1, 'Ridge Hospital', NULL), (2, 'Tema General', NULL), (3, 'Closed Clinic', '2020-01-01');
INSERT INTO public.store (hospital_id) VALUES (1), (1), (2), (3);
INSERT INTO public.bag (store_id, abo, rh, state, expiry) VALUES
    (1, 'O', '+', 'available', (now() AT TIME ZONE 'Africa/Accra')::date), (2, 'O', '+', 'reserved', NULL), (1, 'AB', '-', 'available', '2100-01-01'),
    (1, 'A', '+', 'issued', NULL), (1, 'A', '+', 'available', (now() AT TIME ZONE 'Africa/Accra')::date - 1), (3, 'B', '-', 'available', NULL);
INSERT INTO public.movement (kind, hospital_id, product, units, "At") VALUES
    ('delivery', 1, 'RBC-OP', 4, now() AT TIME ZONE 'Africa/Accra'), ('delivery', 1, 'A_POSITIVE', 2, now() AT TIME ZONE 'Africa/Accra' - interval '2 days'),
    ('request', 1, 'O_NEGATIVE', 7, now() AT TIME ZONE 'Africa/Accra');
