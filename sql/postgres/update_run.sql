-- Updates only the attempt that began at $2, while it has not ended. If no row is returned, another
-- attempt has taken the run over.
UPDATE job_runs SET state = $3, finished_at = to_timestamp($4::bigint::float8 / 1000.0::float8), total = $5, done = $6, changed = $7, drift = $8, error = $9,
    verified_through = to_timestamp($10::bigint::float8 / 1000.0::float8), heartbeat_at = now()
WHERE id = $1 AND started_at = to_timestamp($2::bigint::float8 / 1000.0::float8) AND state IN ('waiting', 'running')
