-- Queues a run, once a tick. Does nothing when this tick of the job is there, or a later one that
-- is not in the future (a clock that was ahead may have left that).
-- $1 run    $2 job    $3 tick    $4 now
INSERT INTO job_runs (id, job, tick, state, started_at, heartbeat_at)
SELECT $1, $2, $3, 'waiting', $4, $4 WHERE NOT EXISTS (SELECT 1 FROM job_runs WHERE job = $2 AND tick > $3 AND tick <= $4)
ON CONFLICT (job, tick) DO NOTHING
