-- Ends ticks of $1 before $2 that no server carries out, and a run of the command $3 without a
-- heartbeat for $4 ms: its process has died.
UPDATE job_runs SET error = CASE state WHEN 'waiting' THEN 'skipped' ELSE 'abandoned' END, state = 'failed', finished_at = now()
WHERE state IN ('waiting', 'running')
  AND (job = $1 AND tick < to_timestamp($2::bigint::float8 / 1000.0::float8) OR job = $3)
  AND (job = $1 AND state = 'waiting' OR heartbeat_at < now() - $4::bigint::float8 * interval '1 millisecond')
