-- Queues a run, once a tick. Does nothing if this tick of the job is queued, or a later one that is
-- not in the future. (A clock that was ahead may have left a tick in the future.)
-- $1 run    $2 job    $3 tick    $4 now
INSERT INTO job_runs (id, job, tick, state, started_at, heartbeat_at)
SELECT $1, $2, $3, 'waiting', $4, $4 WHERE NOT EXISTS (SELECT 1 FROM job_runs WHERE job = $2 AND tick > $3 AND tick <= $4)
ON CONFLICT (job, tick) DO NOTHING
