-- Only for this attempt, while it has not ended. No row: another attempt has taken the run over.
UPDATE job_runs SET heartbeat_at = $3 WHERE id = $1 AND started_at = $2 AND state IN ('waiting', 'running')
