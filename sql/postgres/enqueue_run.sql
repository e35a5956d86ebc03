-- Queues a run, once a tick. Does nothing if this tick of the job is queued, or a later one that is
-- not in the future. (A clock that was ahead may have left a tick in the future.)
-- $1 run    $2 job    $3 tick
INSERT INTO job_runs (id, job, tick, state, started_at)
SELECT $1, $2, due, 'waiting', date_trunc('milliseconds', now()) FROM to_timestamp($3::bigint::float8 / 1000.0::float8) AS due
WHERE NOT EXISTS (SELECT 1 FROM job_runs WHERE job = $2 AND tick > due AND tick <= now())
ON CONFLICT (job, tick) DO NOTHING
