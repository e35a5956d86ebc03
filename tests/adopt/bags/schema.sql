-- A group of hospitals: one bag a row, groups in two columns, a status and a soft delete, expiry as a
-- date, local times without a zone, deliveries and requests in one table with a kind.
CREATE TABLE public.hospital (
    id serial PRIMARY KEY,
    hospital_name varchar(120) NOT NULL,
    town text,
    closed_on date
);
CREATE TABLE public.blood_store (
    id serial PRIMARY KEY,
    hospital_id integer NOT NULL REFERENCES public.hospital ON DELETE CASCADE,
    label text NOT NULL
);
CREATE TABLE public.bag (
    bag_no bigserial PRIMARY KEY,
    donation_code text,
    store_id integer NOT NULL REFERENCES public.blood_store ON DELETE CASCADE,
    abo varchar(2),
    rh char(1),
    component text NOT NULL DEFAULT 'red cells',
    collected date,
    expiry_date date,
    status varchar(12) NOT NULL DEFAULT 'AVAILABLE',
    deleted_at timestamp,
    created_at timestamp NOT NULL DEFAULT localtimestamp
);
CREATE INDEX bag_of_store ON public.bag (store_id);
CREATE TABLE public.movement (
    id bigserial PRIMARY KEY,
    kind varchar(10) NOT NULL CHECK (kind IN ('DELIVERY', 'REQUEST', 'RETURN')),
    hospital_id integer NOT NULL REFERENCES public.hospital ON DELETE CASCADE,
    blood_group text,
    units smallint NOT NULL,
    moved_at timestamp NOT NULL,
    remarks text
);
CREATE INDEX movement_of_hospital ON public.movement (hospital_id, moved_at);
CREATE TABLE public.staff (
    id serial PRIMARY KEY,
    hospital_id integer REFERENCES public.hospital ON DELETE CASCADE,
    name text,
    active boolean NOT NULL DEFAULT true
);
