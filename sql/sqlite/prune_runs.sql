-- Runs that ended and began before $1, except a job's latest tick: without it, that tick would
-- count as not run.
DELETE FROM job_runs
WHERE started_at < $1 AND state IN ('done', 'failed') AND tick < (SELECT max(latest.tick) FROM job_runs latest WHERE latest.job = job_runs.job)
