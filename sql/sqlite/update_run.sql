-- Updates only the attempt that began at $2, while it has not ended. If no row is returned, another
-- attempt has taken the run over.
UPDATE job_runs SET state = $3, finished_at = $4, total = $5, done = $6, changed = $7, drift = $8, error = $9,
    verified_through = $10, heartbeat_at = $11
WHERE id = $1 AND started_at = $2 AND state IN ('waiting', 'running')
