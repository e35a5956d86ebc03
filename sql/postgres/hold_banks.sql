-- Whoever moves one of these banks waits for this transaction's commit. One that somebody is changing already is left out, not waited for.
SELECT id, facility_id FROM blood_banks WHERE id = ANY ($1) ORDER BY id FOR SHARE SKIP LOCKED
