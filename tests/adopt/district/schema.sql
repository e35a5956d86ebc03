-- A district without foreign keys: health centres with letters for their status, units with barcodes and
-- numbers for their types, movements with a direction, requests with several dates.
CREATE SCHEMA hemo;
CREATE TABLE hemo.health_centre (
    hc_code varchar(8) PRIMARY KEY,
    hc_name varchar(100) NOT NULL,
    time_zone text NOT NULL,
    status char(1) NOT NULL DEFAULT 'A',
    phone text
);
CREATE TABLE hemo.blood_types (
    type_no smallint PRIMARY KEY,
    abbreviation text NOT NULL
);
CREATE TABLE hemo.blood_inventory (
    barcode text PRIMARY KEY,
    hc_code varchar(8) NOT NULL,
    type_no smallint,
    use_by timestamptz,
    current_state text NOT NULL DEFAULT 'Available',
    issued_at timestamptz
);
CREATE TABLE hemo.goods_received (
    id bigserial PRIMARY KEY,
    hc_code varchar(8) NOT NULL,
    supplier text,
    type_no smallint,
    no_of_units integer NOT NULL,
    date_received timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE hemo.transfusion_request (
    id bigserial PRIMARY KEY,
    hc_code varchar(8) NOT NULL,
    patient_no text,
    type_no smallint,
    needed_by date,
    date_requested timestamptz NOT NULL DEFAULT now(),
    request_status text NOT NULL DEFAULT 'NEW'
);
CREATE TABLE hemo.inventory_history (LIKE hemo.blood_inventory);
CREATE TABLE hemo.donor (donor_no bigserial PRIMARY KEY, hc_code varchar(8), type_no smallint, last_donation date);
