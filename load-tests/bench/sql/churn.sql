-- A tenth of the rows of each source table get another quantity, in no order, and without a vacuum
-- afterwards.
BEGIN;
SELECT set_config('facility_summary.refreshes', pg_current_xact_id()::text, true) \g /dev/null
UPDATE blood_inventory SET quantity = 39 - quantity WHERE abs(hashtext(id::text)) % 10 = 0;
UPDATE blood_distributions SET quantity = 21 - quantity WHERE abs(hashtext(id::text)) % 10 = 0;
UPDATE blood_requests SET quantity = 9 - quantity WHERE abs(hashtext(id::text)) % 10 = 0;
COMMIT;
