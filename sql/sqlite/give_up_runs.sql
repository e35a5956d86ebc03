-- Ends ticks of $1 before $2 that no server carries out, and a run of the command $3 without a
-- heartbeat since $5: its process has died. $4 now
UPDATE job_runs SET error = CASE state WHEN 'waiting' THEN 'skipped' ELSE 'abandoned' END, state = 'failed', finished_at = $4
WHERE state IN ('waiting', 'running') AND (job = $1 AND tick < $2 OR job = $3) AND (job = $1 AND state = 'waiting' OR heartbeat_at < $5)
