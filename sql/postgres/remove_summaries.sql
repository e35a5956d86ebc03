-- The counter stays, so a version never recurs, even when the facility comes back. Versions up to
-- the counter now belong to the former life, and count in no tier.
WITH state AS (
    UPDATE facility_state SET removed_at_version = version WHERE facility_id = ANY ($1)
)
DELETE FROM dashboard_daily_summary WHERE facility_id = ANY ($1)
