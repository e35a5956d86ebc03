-- Ended runs begun before $1, but never a job's latest tick: it would be taken for one that has not run.
DELETE FROM job_runs
WHERE started_at < $1 AND state IN ('done', 'failed') AND tick < (SELECT max(latest.tick) FROM job_runs latest WHERE latest.job = job_runs.job)
