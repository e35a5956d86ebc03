-- The database of a group of hospitals, as its own programs use it; `make demo-adopt` loads it. It was
-- not made for facility-summary: keys are integers, one bag is a row, groups are in two columns, expiry
-- is a date, times have no zone, rows are deleted by a mark, and a request belongs to a ward.
CREATE TABLE public.region (
    id serial PRIMARY KEY,
    region_name text NOT NULL
);
CREATE TABLE public.hospital (
    id serial PRIMARY KEY,
    hospital_name text NOT NULL,
    region_id integer REFERENCES public.region,
    beds integer,
    closed_on date
);
CREATE TABLE public.ward (
    id serial PRIMARY KEY,
    hospital_id integer NOT NULL REFERENCES public.hospital,
    ward_name text NOT NULL
);
CREATE TABLE public.cold_store (
    id serial PRIMARY KEY,
    hospital_id integer NOT NULL REFERENCES public.hospital,
    label text NOT NULL
);
CREATE TABLE public.blood_bag (
    bag_no bigserial PRIMARY KEY,
    cold_store_id integer NOT NULL REFERENCES public.cold_store,
    abo varchar(2) NOT NULL,
    rh char(1) NOT NULL,
    bag_state text NOT NULL DEFAULT 'available' CHECK (bag_state IN ('available', 'reserved', 'quarantine', 'issued', 'discarded')),
    expiry_date date,
    deleted_at timestamp
);
CREATE INDEX blood_bag_of_store ON public.blood_bag (cold_store_id);
CREATE TABLE public.delivery (
    id bigserial PRIMARY KEY,
    hospital_id integer NOT NULL REFERENCES public.hospital,
    product text NOT NULL,
    units smallint NOT NULL,
    delivered_at timestamp NOT NULL
);
CREATE INDEX delivery_of_hospital ON public.delivery (hospital_id, delivered_at);
CREATE TABLE public.ward_request (
    id bigserial PRIMARY KEY,
    ward_id integer NOT NULL REFERENCES public.ward,
    product text NOT NULL,
    units smallint NOT NULL,
    request_state text NOT NULL DEFAULT 'open',
    requested_at timestamp NOT NULL
);
CREATE TABLE public.staff (
    id serial PRIMARY KEY,
    full_name text NOT NULL,
    hospital_id integer REFERENCES public.hospital
);

SELECT setseed(0.5);
INSERT INTO public.region (region_name) VALUES ('Coast'), ('Forest'), ('Savannah');
INSERT INTO public.hospital (hospital_name, region_id, beds, closed_on)
SELECT name, 1 + nth % 3, 80 + 15 * nth, CASE WHEN name = 'Old Fort Clinic' THEN '2019-04-30'::date END
FROM unnest(ARRAY['Ridge Hospital', 'Harbour General', 'Lagoon Clinic', 'University Hospital', 'Mission Hospital', 'Market Street Clinic',
    'Northern Regional', 'Savannah District', 'River Hospital', 'Old Fort Clinic', 'Children''s Hospital', 'Military Hospital']) WITH ORDINALITY AS n (name, nth);
INSERT INTO public.ward (hospital_id, ward_name) SELECT id, ward FROM public.hospital, unnest(ARRAY['Surgery', 'Maternity', 'Emergency']) ward;
INSERT INTO public.cold_store (hospital_id, label) SELECT id, 'store ' || n FROM public.hospital, generate_series(1, 2) n;
INSERT INTO public.staff (full_name, hospital_id) SELECT 'Nurse ' || n, 1 + n % 12 FROM generate_series(1, 60) n;
INSERT INTO public.blood_bag (cold_store_id, abo, rh, bag_state, expiry_date, deleted_at)
SELECT 1 + floor(random() * 24)::int, (ARRAY['O', 'O', 'A', 'B', 'AB'])[1 + floor(random() * 5)::int], (ARRAY['+', '+', '+', '+', '-'])[1 + floor(random() * 5)::int],
    (ARRAY['available', 'available', 'reserved', 'quarantine', 'issued', 'issued', 'discarded'])[1 + floor(random() * 7)::int],
    current_date + floor(random() * 42)::int - 7, CASE WHEN random() < 0.02 THEN localtimestamp END
FROM generate_series(1, 12000);
INSERT INTO public.delivery (hospital_id, product, units, delivered_at)
SELECT 1 + floor(random() * 12)::int, (ARRAY['O+', 'O-', 'A+', 'B+', 'AB+', 'plasma'])[1 + floor(random() * 6)::int], 1 + floor(random() * 12)::int,
    now() AT TIME ZONE 'Africa/Accra' - random() * interval '60 days' FROM generate_series(1, 8000);
INSERT INTO public.ward_request (ward_id, product, units, request_state, requested_at)
SELECT 1 + floor(random() * 36)::int, (ARRAY['O+', 'O-', 'A+', 'B+', 'AB+'])[1 + floor(random() * 5)::int], 1 + floor(random() * 4)::int,
    (ARRAY['open', 'filled', 'filled', 'cancelled'])[1 + floor(random() * 4)::int], now() AT TIME ZONE 'Africa/Accra' - random() * interval '60 days'
FROM generate_series(1, 20000);
ANALYZE;
