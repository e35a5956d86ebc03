-- Ticks of $1 before $2 that nobody carries out give way to it; a command's run ($3) of which nobody heard since $5 has died with it.
--   $4 now
UPDATE job_runs SET error = CASE state WHEN 'waiting' THEN 'skipped' ELSE 'abandoned' END, state = 'failed', finished_at = $4
WHERE state IN ('waiting', 'running') AND (job = $1 AND tick < $2 OR job = $3) AND (job = $1 AND state = 'waiting' OR heartbeat_at < $5)
