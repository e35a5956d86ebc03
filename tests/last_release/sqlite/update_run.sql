UPDATE job_runs SET state = $2, finished_at = $3, total = $4, done = $5, changed = $6, drift = $7, error = $8, heartbeat_at = $9 WHERE id = $1
