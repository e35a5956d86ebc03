-- $1 and $2 ids. Whatever generation has begun since the look that saw them: docs/freshness.md, rule 8.
WITH rows AS (
    DELETE FROM outbox WHERE id = ANY ($1)
)
DELETE FROM facility_outbox WHERE id = ANY ($2)
