-- A national service: UUIDs, instants, a zone for each facility, groups as an enum, units in two tables
-- that add up, tables named like ours, and a dashboard_daily_summary of its own.
CREATE TYPE public.blood_type AS ENUM ('A_POSITIVE', 'A_NEGATIVE', 'B_POSITIVE', 'B_NEGATIVE', 'AB_POSITIVE', 'AB_NEGATIVE', 'O_POSITIVE', 'O_NEGATIVE');
CREATE TYPE public.unit_state AS ENUM ('collected', 'in_stock', 'allocated', 'transfused', 'discarded');
CREATE TABLE public.facilities (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    timezone text NOT NULL,
    is_deleted boolean NOT NULL DEFAULT false
);
CREATE TABLE public.red_cell_units (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    facility_id uuid NOT NULL REFERENCES public.facilities ON DELETE CASCADE,
    blood_type public.blood_type,
    state public.unit_state NOT NULL DEFAULT 'in_stock',
    expires_at timestamptz
);
CREATE TABLE public.whole_blood_units (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    facility_id uuid NOT NULL REFERENCES public.facilities ON DELETE CASCADE,
    blood_type public.blood_type,
    state public.unit_state NOT NULL DEFAULT 'in_stock',
    expires_at timestamptz
);
CREATE TABLE public.deliveries (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    from_facility_id uuid REFERENCES public.facilities ON DELETE SET NULL,
    to_facility_id uuid NOT NULL REFERENCES public.facilities ON DELETE CASCADE,
    blood_type public.blood_type,
    unit_count integer NOT NULL,
    dispatched_at timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz
);
CREATE TABLE public.requests (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    facility_id uuid NOT NULL REFERENCES public.facilities ON DELETE CASCADE,
    blood_type public.blood_type,
    quantity integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    cancelled boolean NOT NULL DEFAULT false
);
CREATE TABLE public.dashboard_daily_summary (
    facility_id uuid REFERENCES public.facilities ON DELETE CASCADE,
    summary_date date,
    total_stock integer,
    total_requests integer,
    PRIMARY KEY (facility_id, summary_date)
);
