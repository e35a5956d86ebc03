-- Modules in several schemas: sites have codes, units have a group and a factor in words, a smallint for
-- deleted, local times, consignments with lines, requisitions with a date that count units.
CREATE SCHEMA org;
CREATE SCHEMA inv;
CREATE SCHEMA logistics;
CREATE SCHEMA clinical;
CREATE TABLE org.site (
    site_code text PRIMARY KEY,
    title text NOT NULL,
    site_status text NOT NULL DEFAULT 'OPEN'
);
CREATE TABLE inv.storage_location (
    location_id serial PRIMARY KEY,
    site_code text NOT NULL REFERENCES org.site ON UPDATE CASCADE ON DELETE CASCADE,
    label text
);
CREATE TABLE inv.blood_unit (
    unit_number text PRIMARY KEY,
    location_id integer NOT NULL REFERENCES inv.storage_location ON DELETE CASCADE,
    abo_group text,
    rhd text,
    unit_status text NOT NULL DEFAULT 'IN STOCK',
    expiry timestamp,
    deleted smallint NOT NULL DEFAULT 0
);
CREATE INDEX ON inv.blood_unit (location_id);
CREATE TABLE logistics.consignment (
    consignment_id serial PRIMARY KEY,
    origin_site text REFERENCES org.site ON UPDATE CASCADE ON DELETE SET NULL,
    destination_site text NOT NULL REFERENCES org.site ON UPDATE CASCADE ON DELETE CASCADE,
    status text NOT NULL DEFAULT 'SENT',
    received_on timestamp
);
CREATE TABLE logistics.consignment_line (
    consignment_id integer NOT NULL REFERENCES logistics.consignment ON DELETE CASCADE,
    line_no integer NOT NULL,
    abo_group text,
    rhd text,
    quantity integer NOT NULL,
    PRIMARY KEY (consignment_id, line_no)
);
CREATE TABLE clinical.requisition (
    requisition_id serial PRIMARY KEY,
    site_code text NOT NULL REFERENCES org.site ON UPDATE CASCADE ON DELETE CASCADE,
    abo_group text,
    rhd text,
    units_requested integer NOT NULL,
    requested_on date NOT NULL
);
