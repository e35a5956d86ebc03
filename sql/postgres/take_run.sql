-- Takes up the run that is in line for longest: one that waits, or one whose heart stands still. None while another one lives. Whoever
-- calls this holds the lock of those who do, taken in a statement before: else two could both see nobody.
-- started_at tells this attempt from those before it.
--   $1 jobs that never run beside each other    $2 those that the caller carries out    $3 only this run, or null
--   $4 milliseconds after which a heart that has not beaten stands still
UPDATE job_runs SET state = 'running', started_at = date_trunc('milliseconds', statement_timestamp()), heartbeat_at = statement_timestamp(),
       finished_at = NULL, total = 0, done = 0, changed = 0, drift = 0, error = NULL
WHERE id = (SELECT id FROM job_runs
             WHERE job = ANY ($2) AND state IN ('waiting', 'running') AND ($3::uuid IS NULL OR id = $3)
             ORDER BY tick LIMIT 1)
  AND NOT EXISTS (SELECT 1 FROM job_runs
                   WHERE job = ANY ($1) AND state = 'running' AND heartbeat_at >= statement_timestamp() - $4::bigint::float8 * interval '1 millisecond')
RETURNING id
