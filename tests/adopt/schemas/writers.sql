-- rename logistics.consignment received_on arrived_on
-- step: single rows
INSERT INTO inv.blood_unit (unit_number, location_id, abo_group, rhd, expiry)
SELECT 'N' || gen_random_uuid(), location_id, 'AB', 'NEG', localtimestamp + interval '9 days' FROM inv.storage_location ORDER BY random() LIMIT 1;
INSERT INTO clinical.requisition (site_code, abo_group, rhd, units_requested, requested_on)
SELECT site_code, 'O', 'NEG', 3, (now() AT TIME ZONE 'America/Bogota')::date FROM org.site ORDER BY random() LIMIT 1;
WITH c AS (INSERT INTO logistics.consignment (destination_site, received_on) SELECT site_code, now() AT TIME ZONE 'America/Bogota' FROM org.site ORDER BY random() LIMIT 1 RETURNING consignment_id)
INSERT INTO logistics.consignment_line SELECT consignment_id, 1, 'A', 'POS', 7 FROM c;
-- step: statuses
UPDATE inv.blood_unit SET unit_status = 'ISSUED' WHERE unit_number IN (SELECT unit_number FROM inv.blood_unit ORDER BY random() LIMIT 6);
UPDATE inv.blood_unit SET unit_status = 'IN STOCK' WHERE unit_number IN (SELECT unit_number FROM inv.blood_unit WHERE unit_status = 'QUARANTINE' ORDER BY random() LIMIT 6);
UPDATE inv.blood_unit SET deleted = 1 - deleted WHERE unit_number IN (SELECT unit_number FROM inv.blood_unit ORDER BY random() LIMIT 6);
UPDATE logistics.consignment SET status = 'RECEIVED', received_on = now() AT TIME ZONE 'America/Bogota' WHERE consignment_id IN (SELECT consignment_id FROM logistics.consignment WHERE received_on IS NULL LIMIT 2);
-- step: moves
UPDATE inv.blood_unit SET location_id = (SELECT location_id FROM inv.storage_location ORDER BY random() LIMIT 1) WHERE unit_number IN (SELECT unit_number FROM inv.blood_unit ORDER BY random() LIMIT 20);
UPDATE inv.storage_location SET site_code = (SELECT site_code FROM org.site WHERE site_code NOT LIKE 'TMP-%' ORDER BY random() LIMIT 1) WHERE location_id = (SELECT location_id FROM inv.storage_location ORDER BY random() LIMIT 1);
UPDATE clinical.requisition SET site_code = 'MDE-1', requested_on = requested_on + 1 WHERE requisition_id IN (SELECT requisition_id FROM clinical.requisition WHERE requested_on < current_date - 2 ORDER BY random() LIMIT 3);
-- step: cascade
INSERT INTO org.site VALUES ('TMP-' || floor(random() * 100000), 'Temporal') ON CONFLICT DO NOTHING;
WITH l AS (INSERT INTO inv.storage_location (site_code) SELECT min(site_code) FROM org.site WHERE site_code LIKE 'TMP-%' HAVING count(*) > 0 RETURNING location_id)
INSERT INTO inv.blood_unit (unit_number, location_id, abo_group, rhd) SELECT 'T' || gen_random_uuid(), location_id, 'B', 'POS' FROM l, generate_series(1, 12);
DELETE FROM org.site WHERE site_code = (SELECT max(site_code) FROM org.site WHERE site_code LIKE 'TMP-%');
UPDATE org.site SET site_status = CASE site_status WHEN 'OPEN' THEN 'CLOSED' ELSE 'OPEN' END WHERE site_code = 'CTG-1';
DELETE FROM logistics.consignment WHERE consignment_id IN (SELECT consignment_id FROM logistics.consignment ORDER BY random() LIMIT 2);
-- copy: inv.blood_unit (unit_number, location_id, abo_group, rhd, expiry)
SELECT 'C' || gen_random_uuid(), location_id, '0', 'POS', localtimestamp + interval '12 days' FROM inv.storage_location, generate_series(1, 30)
-- copy: clinical.requisition (site_code, abo_group, rhd, units_requested, requested_on)
SELECT site_code, 'A', 'NEG', 2, (now() AT TIME ZONE 'America/Bogota')::date - n FROM org.site, generate_series(0, 9) n
-- truncate
TRUNCATE logistics.consignment_line
