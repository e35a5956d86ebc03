-- $1 the fingerprint of complete triggers. Some may have been missing since the last check, so this
-- marks everything.
WITH noted AS (UPDATE fleet SET triggers_seen = $1 WHERE triggers_seen IS DISTINCT FROM $1 RETURNING one)
INSERT INTO summary_marks (kind) SELECT 'facility' FROM noted
