-- $1 and $2 ids, $3 generation. The lock keeps another generation from beginning before this has taken place, and where one has begun,
-- nothing is deleted.
WITH fence AS MATERIALIZED (
    SELECT 1 FROM fleet WHERE generation = $3 FOR SHARE
), rows AS (
    DELETE FROM outbox WHERE id = ANY ($1) AND EXISTS (SELECT 1 FROM fence)
), facilities AS (
    DELETE FROM facility_outbox WHERE id = ANY ($2) AND EXISTS (SELECT 1 FROM fence)
)
SELECT EXISTS (SELECT 1 FROM fence)
