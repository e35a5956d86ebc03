-- Whether there may be a run to take up. Takes no lock. $1 jobs, $2 only this run, or null.
SELECT EXISTS (SELECT 1 FROM job_runs
                WHERE job IN (SELECT value FROM json_each($1)) AND state IN ('waiting', 'running') AND ($2 IS NULL OR id = $2))
