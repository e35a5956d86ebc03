-- A transaction that moves one of these banks waits for this commit. A bank that is being changed
-- is left out, without a wait.
SELECT id, facility_id FROM blood_banks WHERE id = ANY ($1) ORDER BY id FOR SHARE SKIP LOCKED
