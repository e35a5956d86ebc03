-- rename hemo.blood_inventory current_state unit_state
-- step: single rows
INSERT INTO hemo.blood_inventory (barcode, hc_code, type_no, use_by) SELECT 'N' || gen_random_uuid(), hc_code, 2, now() + interval '20 days' FROM hemo.health_centre ORDER BY random() LIMIT 1;
INSERT INTO hemo.goods_received (hc_code, type_no, no_of_units) SELECT hc_code, 7, 4 FROM hemo.health_centre ORDER BY random() LIMIT 1;
INSERT INTO hemo.transfusion_request (hc_code, type_no) SELECT hc_code, 1 FROM hemo.health_centre ORDER BY random() LIMIT 1;
-- step: statuses
UPDATE hemo.blood_inventory SET current_state = 'Issued', issued_at = now() WHERE barcode IN (SELECT barcode FROM hemo.blood_inventory WHERE current_state = 'Available' ORDER BY random() LIMIT 8);
UPDATE hemo.transfusion_request SET request_status = 'REJECTED' WHERE id IN (SELECT id FROM hemo.transfusion_request ORDER BY date_requested DESC LIMIT 3);
UPDATE hemo.health_centre SET status = CASE status WHEN 'A' THEN 'I' ELSE 'A' END WHERE hc_code = 'HC-D';
-- step: moves
UPDATE hemo.blood_inventory SET hc_code = 'HC-C' WHERE barcode IN (SELECT barcode FROM hemo.blood_inventory ORDER BY random() LIMIT 15);
UPDATE hemo.goods_received SET hc_code = 'HC-A' WHERE id IN (SELECT id FROM hemo.goods_received ORDER BY date_received DESC LIMIT 3);
UPDATE hemo.blood_types SET abbreviation = abbreviation WHERE type_no = 8;
-- step: a program deletes by hand what no foreign key deletes
INSERT INTO hemo.health_centre VALUES ('TMP', 'Camp', 'Africa/Nairobi') ON CONFLICT DO NOTHING;
INSERT INTO hemo.transfusion_request (hc_code, type_no) SELECT 'TMP', 5 FROM generate_series(1, 9);
DELETE FROM hemo.transfusion_request WHERE hc_code = 'TMP' AND id % 3 > 0;
DELETE FROM hemo.health_centre WHERE hc_code = 'TMP' AND random() < 0.5;
-- copy: hemo.blood_inventory (barcode, hc_code, type_no, use_by)
SELECT 'C' || gen_random_uuid(), hc_code, 4, now() + interval '9 days' FROM hemo.health_centre, generate_series(1, 40)
-- copy: hemo.goods_received (hc_code, type_no, no_of_units, date_received)
SELECT hc_code, 6, n, now() - n * interval '8 hours' FROM hemo.health_centre, generate_series(1, 18) n
-- truncate
TRUNCATE hemo.transfusion_request
