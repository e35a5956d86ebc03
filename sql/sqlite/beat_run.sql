-- Only of this attempt, and while it has not ended: no row tells that another has taken the run over.
UPDATE job_runs SET heartbeat_at = $3 WHERE id = $1 AND started_at = $2 AND state IN ('waiting', 'running')
