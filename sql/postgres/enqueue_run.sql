-- Puts a run in line, once a tick: none where that tick of the job, or a later one, is there already.
--   $1 run    $2 job    $3 tick
INSERT INTO job_runs (id, job, tick, state, started_at)
SELECT $1, $2, tick, 'waiting', date_trunc('milliseconds', now()) FROM to_timestamp($3::bigint / 1000.0::float8) AS tick
WHERE NOT EXISTS (SELECT 1 FROM job_runs WHERE job = $2 AND job_runs.tick >= to_timestamp($3::bigint / 1000.0::float8))
ON CONFLICT (job, tick) DO NOTHING
