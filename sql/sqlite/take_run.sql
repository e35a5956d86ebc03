-- Takes up the run with the earliest tick: one that waits, or one without a heartbeat. None while
-- another run is in progress. started_at distinguishes this attempt from earlier ones.
-- $1 jobs that never run at the same time    $2 jobs that the caller carries out
-- $3 only this run, or null    $4 now    $5 a run with a last heartbeat before this is abandoned
UPDATE job_runs SET state = 'running', started_at = $4, heartbeat_at = $4,
       finished_at = NULL, total = 0, done = 0, changed = 0, drift = 0, error = NULL
WHERE id = (SELECT id FROM job_runs
             WHERE job IN (SELECT value FROM json_each($2)) AND state IN ('waiting', 'running') AND ($3 IS NULL OR id = $3)
             ORDER BY tick LIMIT 1)
  AND NOT EXISTS (SELECT 1 FROM job_runs WHERE job IN (SELECT value FROM json_each($1)) AND state = 'running' AND heartbeat_at >= $5)
RETURNING id
