-- One row a tick: the first to insert it has it. A run whose heart stopped is started over under the new id.
--   $1 run    $2 job    $3 tick    $4 now    $5 heartbeats before this are dead
INSERT INTO job_runs (id, job, tick, started_at, heartbeat_at) VALUES ($1, $2, $3, $4, $4)
ON CONFLICT (job, tick) DO UPDATE SET
    id = excluded.id, started_at = excluded.started_at, heartbeat_at = excluded.heartbeat_at,
    total = 0, done = 0, changed = 0, drift = 0, error = NULL
WHERE state = 'running' AND heartbeat_at < $5
