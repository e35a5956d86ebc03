-- Deletes runs that have ended and began before $1, except a job's latest tick: without its row,
-- that tick would run again.
DELETE FROM job_runs
WHERE started_at < $1 AND state IN ('done', 'failed') AND tick < (SELECT max(latest.tick) FROM job_runs latest WHERE latest.job = job_runs.job)
