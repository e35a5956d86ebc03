SELECT id, job, state, started_at, finished_at, total, done, changed, drift, error FROM job_runs WHERE id = $1
