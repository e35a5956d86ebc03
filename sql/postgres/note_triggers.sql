-- $1 the fingerprint of complete triggers, $2 that of triggers on mapped tables, null where those do
-- not count. Some may have been missing since the last check, so this marks everything. Where $1 is
-- null it only forgets them: triggers are off.
WITH noted AS (
    UPDATE fleet SET triggers_seen = $1::text, mapped_seen = $2
    WHERE triggers_seen IS DISTINCT FROM $1 OR mapped_seen IS DISTINCT FROM $2 RETURNING one
)
INSERT INTO summary_marks (kind) SELECT 'facility' FROM noted WHERE $1::text IS NOT NULL
