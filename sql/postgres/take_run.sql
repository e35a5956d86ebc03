-- Takes up the run with the earliest tick: one that waits, or one without a heartbeat. None while
-- another run is in progress. The caller holds the lock of runs, taken in an earlier statement:
-- otherwise two callers could both see no run in progress. started_at distinguishes this attempt
-- from earlier ones.
-- $1 jobs that never run at the same time    $2 jobs that the caller carries out
-- $3 only this run, or null    $4 milliseconds without a heartbeat after which a run is abandoned
UPDATE job_runs SET state = 'running', started_at = date_trunc('milliseconds', statement_timestamp()), heartbeat_at = statement_timestamp(),
       finished_at = NULL, total = 0, done = 0, changed = 0, drift = 0, error = NULL
WHERE id = (SELECT id FROM job_runs
             WHERE job = ANY ($2) AND state IN ('waiting', 'running') AND ($3::uuid IS NULL OR id = $3)
             ORDER BY tick LIMIT 1)
  AND NOT EXISTS (SELECT 1 FROM job_runs
                   WHERE job = ANY ($1) AND state = 'running' AND heartbeat_at >= statement_timestamp() - $4::bigint::float8 * interval '1 millisecond')
RETURNING id
