-- The schema as it was when it was last made sure that nothing was written past the triggers that leave marks: whoever drops one changes
-- the schema's number (PRAGMA schema_version), also where it is there again by the time that somebody looks.
-- Marks need not name blood banks, as they do on Postgres: a file has one writer at a time, so no bank moves while a transaction on its
-- units is open. The facility that a trigger finds is right at the commit, or that very transaction moves the bank, which is marked, too.
ALTER TABLE fleet ADD COLUMN triggers_seen TEXT;

-- The table of statistics is made here, so that no later ANALYZE or PRAGMA optimize changes the schema for it.
ANALYZE fleet;
