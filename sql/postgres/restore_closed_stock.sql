-- Brings back the stock of closed days of mapped facilities that are mapped again. The rows are of no
-- instant, so that no reader takes them before they are derived; and of the facility's new life.
WITH kept AS (
    DELETE FROM closed_stock WHERE facility_id = ANY ($1) RETURNING facility_id, date, total_stock, by_blood_type
)
INSERT INTO dashboard_daily_summary (facility_id, date, total_stock, total_transferred, total_requests, by_blood_type, as_of, updated_at, version)
SELECT kept.facility_id, kept.date, kept.total_stock, 0::bigint, 0::bigint, kept.by_blood_type, to_timestamp(0::float8), statement_timestamp(),
       coalesce(state.removed_at_version, 0::bigint) + 1::bigint
FROM kept LEFT JOIN facility_state state ON state.facility_id = kept.facility_id
ON CONFLICT (facility_id, date) DO NOTHING
