-- In the order of ids, so that two refreshes never wait for each other in a circle. A statement of
-- its own, so that the snapshot of the aggregate comes later. The time is read outside of the
-- locking query: inside, it would be the time before the wait.
WITH locked AS MATERIALIZED (
    SELECT facility_id, version, today, removed_at_version FROM facility_state WHERE facility_id = ANY ($1) ORDER BY facility_id FOR UPDATE
)
-- Versions continue above what an ended epoch may have given out.
SELECT facility_id, greatest(version, (SELECT versions_from FROM fleet)) AS version, today::text AS date, removed_at_version,
       -- These two once, not for each row.
       (SELECT pg_current_xact_id()::text) AS transaction, (SELECT server_timeline()) AS timeline,
       floor(extract(epoch FROM clock_timestamp()) * 1000.0)::bigint AS locked_at_ms
FROM locked
