-- $1 the fingerprint of triggers that are complete. They may not have been since the last check, so
-- everything is checked again.
WITH noted AS (UPDATE fleet SET triggers_seen = $1 WHERE triggers_seen IS DISTINCT FROM $1 RETURNING one)
INSERT INTO summary_marks (kind) SELECT 'facility' FROM noted
