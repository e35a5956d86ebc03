-- One caller wins a tick; a run whose heart has stopped is taken over under the new id.
INSERT INTO job_runs AS r (id, job, tick) VALUES ($1, $2, to_timestamp($3::bigint / 1000.0::float8))
ON CONFLICT (job, tick) DO UPDATE SET id = excluded.id, started_at = now(), heartbeat_at = now(), total = 0, done = 0, changed = 0, drift = 0
WHERE r.state = 'running' AND r.heartbeat_at < now() - $4::bigint * interval '1 millisecond'
RETURNING id
