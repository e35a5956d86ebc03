-- $1 the fingerprint of triggers that are all there, and may not have been since it was last made sure: everything is looked at once more.
WITH noted AS (UPDATE fleet SET triggers_seen = $1 WHERE triggers_seen IS DISTINCT FROM $1 RETURNING one)
INSERT INTO summary_marks (kind) SELECT 'facility' FROM noted
