SELECT current_setting('server_version_num')::integer, current_setting('max_connections')::integer, current_setting('superuser_reserved_connections')::integer
DELETE FROM tombstones WHERE kind = $1 AND id = ANY ($2)
DELETE FROM facilities WHERE id = ANY ($1)
DELETE FROM blood_banks WHERE id = ANY ($1)
DELETE FROM blood_inventory WHERE id = ANY ($1)
DELETE FROM blood_distributions WHERE id = ANY ($1)
DELETE FROM blood_requests WHERE id = ANY ($1)
SELECT floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint
SELECT id, name, timezone FROM facilities
SELECT id, name, timezone FROM facilities WHERE id = ANY ($1)
SELECT facility_id, date::text AS date FROM dashboard_daily_summary WHERE facility_id = ANY ($1)
DELETE FROM outbox WHERE id = ANY ($1)
DELETE FROM tombstones WHERE event_time < to_timestamp($1::bigint / 1000.0::float8)
DELETE FROM job_runs WHERE started_at < to_timestamp($1::bigint / 1000.0::float8) AND state <> 'running'
SELECT pg_advisory_lock_shared($1, $2)
SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
DELETE FROM dashboard_daily_summary WHERE facility_id = ANY ($1)
SELECT count(pg_advisory_xact_lock_shared($1, bucket)) FROM (SELECT unnest($2::integer[]) AS bucket) AS b
SELECT count(pg_advisory_xact_lock($1, bucket)) FROM (SELECT unnest($2::integer[]) AS bucket) AS b
SELECT id, facility_id FROM blood_banks WHERE id = ANY ($1)
