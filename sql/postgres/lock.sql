-- In id order, so that two refreshes never wait for each other in a circle. A statement of its own: the aggregate's snapshot comes after.
-- The time is outside of what locks: there it would be the one before the wait, and figures would seem as old as that.
WITH locked AS MATERIALIZED (
    SELECT facility_id, version, today, removed_at_version FROM facility_state WHERE facility_id = ANY ($1) ORDER BY facility_id FOR UPDATE
)
-- Versions go on above what a history that has ended may have handed out.
SELECT facility_id, greatest(version, (SELECT versions_from FROM fleet)) AS version, today::text AS date, removed_at_version,
       pg_current_xact_id()::text AS transaction, left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline,
       floor(extract(epoch FROM clock_timestamp()) * 1000.0)::bigint AS locked_at_ms
FROM locked
