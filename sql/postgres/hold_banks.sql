-- Locks these banks, so that a transaction which moves one of them waits for this commit. Leaves
-- out, without a wait, a bank that another transaction is changing.
SELECT id, facility_id FROM blood_banks WHERE id = ANY ($1) ORDER BY id FOR SHARE SKIP LOCKED
