-- The counter stays: a version never recurs, not even for a facility that comes back. Up to where it stands now, versions are of the life
-- that has ended: what other tiers hold of them counts no more.
WITH state AS (
    UPDATE facility_state SET removed_at_version = version WHERE facility_id = ANY ($1)
)
DELETE FROM dashboard_daily_summary WHERE facility_id = ANY ($1)
