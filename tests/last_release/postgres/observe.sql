-- One statement, one snapshot: whatever was committed up to now() is visible in it. (Not statement_timestamp(): in the extended protocol
-- that is taken when execution begins, after the snapshot; now() is the beginning of this statement's transaction, before it.)
-- $1 bounds each list. The locks are counted as they are after the snapshot was taken: whoever serves by then and is not counted has
-- deleted nothing that the snapshot should have.
SELECT floor(extract(epoch FROM now()) * 1000)::bigint AS at_ms,
       EXISTS (SELECT 1 FROM dashboard_daily_summary WHERE next_expires_at <= statement_timestamp()) AS expiry_due,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(id, kind, facility_id, floor(extract(epoch FROM first_at) * 1000)::bigint, ceil(extract(epoch FROM last_at) * 1000)::bigint)), '[]')
          FROM (SELECT * FROM summary_marks ORDER BY id LIMIT $1) AS mark)::text AS marks,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(id, facility_id, date, version)), '[]')
          FROM (SELECT * FROM outbox ORDER BY id LIMIT $1) AS entry)::text AS outbox,
       (SELECT count(*) FROM pg_locks
         WHERE locktype = 'advisory' AND classid = 26228 AND objid = 1 AND objsubid = 2 AND granted
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS servers
