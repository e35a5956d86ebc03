SELECT id FROM job_runs WHERE job = $1 AND state = 'waiting' ORDER BY tick LIMIT 1
