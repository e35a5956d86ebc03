-- $1 and $2 ids. It does not matter which generation has begun since the drain snapshot:
-- docs/freshness.md, rule 8.
WITH rows AS (
    DELETE FROM outbox WHERE id = ANY ($1)
)
DELETE FROM facility_outbox WHERE id = ANY ($2)
