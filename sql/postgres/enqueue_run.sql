-- Queues a run, once a tick. Does nothing when this tick of the job is there, or a later one that
-- is not in the future (a clock that was ahead may have left that).
-- $1 run    $2 job    $3 tick
INSERT INTO job_runs (id, job, tick, state, started_at)
SELECT $1, $2, due, 'waiting', date_trunc('milliseconds', now()) FROM to_timestamp($3::bigint::float8 / 1000.0::float8) AS due
WHERE NOT EXISTS (SELECT 1 FROM job_runs WHERE job = $2 AND tick > due AND tick <= now())
ON CONFLICT (job, tick) DO NOTHING
