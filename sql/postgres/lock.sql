-- In id order, so that two refreshes never wait for each other in a circle. A statement of its own: the aggregate's snapshot comes after.
SELECT facility_id, version, today::text AS date, pg_current_xact_id()::text AS transaction,
       left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS locked_at_ms
FROM facility_state WHERE facility_id = ANY ($1) ORDER BY facility_id FOR UPDATE
