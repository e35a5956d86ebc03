UPDATE job_runs SET state = $2, finished_at = to_timestamp($3::bigint / 1000.0::float8), total = $4, done = $5, changed = $6, drift = $7, error = $8, heartbeat_at = now()
WHERE id = $1
