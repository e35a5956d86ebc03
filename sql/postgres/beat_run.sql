-- Updates only this attempt, while it has not ended. If no row is returned, another attempt has
-- taken the run over.
UPDATE job_runs SET heartbeat_at = now()
WHERE id = $1 AND started_at = to_timestamp($2::bigint::float8 / 1000.0::float8) AND state IN ('waiting', 'running')
